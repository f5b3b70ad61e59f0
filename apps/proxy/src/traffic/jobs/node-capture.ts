import { join } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import type { Workers } from '../../process/workers.js';
import type { CaptureOrder, CaptureProgress } from '../capture/capture-order.js';
import { readKeyFile } from '../files/encryption-key.js';
import type { S3StoreOptions } from '@binnacle/object-store/s3-store';
import { openInput, type TrafficInput } from '../files/traffic-input.js';
import type { Account, CaptureWish } from './capture-form.js';
import { explainInProcess } from './replay-process.js';
import { openText } from './sealed-text.js';
import { sqlTarget } from './sql-target.js';
import { storeSettings, trafficPlace, trafficRoots } from './traffic-place.js';
import { type Captured, nothingCaptured } from './traffic-job.js';

/** What the node that runs a capture asks of every proxy node, itself included. Plain data. */
export interface PartOrder extends Pick<CaptureWish, 'output' | 'compress' | 'encryptMethod' | 'layers'> {
  readonly job: string;
  /** The node that runs it: whom to tell when this one leaves. */
  readonly runner: string;
  /** Ids of all that capture; several have a folder each. */
  readonly nodes: readonly string[];
  /** An `Account` as JSON, sealed. */
  readonly explain?: string;
}

/** How far a node's part is. */
export interface PartProgress {
  /** `left`: the node shuts down; what its sessions did until then is written. */
  readonly state: 'running' | 'done' | 'failed' | 'left';
  readonly error: string;
  readonly captured: Captured;
  /** Why there are no plans, where they were asked for. */
  readonly planError?: string;
  /** Folders or prefixes by node and worker. */
  readonly places: Readonly<Record<string, string>>;
}

export interface PartEnd {
  readonly state: 'done' | 'canceled' | 'failed';
  /** Empty for `done`. */
  readonly reason: string;
}

/** A worker opens its files, asks the server's version, and answers. */
const startDeadlineMs = 20_000;
const progressDeadlineMs = 5_000;
/** What is buffered is at most some tens of MiB; a disk that takes longer for them has failed. */
const workerStopDeadlineMs = 60_000;
/** For the plans of one node, once its traffic is written. */
const [explainMs, explainGraceMs] = [30_000, 10_000];
/** Of a part. */
export const stopDeadlineMs = workerStopDeadlineMs + explainMs + explainGraceMs;
/** A part that nobody asks about has lost its runner: it must not fill the disk for ever. Runners ask every second. */
const unaskedMsMax = 20_000;

interface RunningPart {
  readonly order: PartOrder;
  /** By worker's number. */
  readonly outputs: ReadonlyMap<number, string>;
  readonly last: Map<number, CaptureProgress>;
  ending: Promise<PartProgress> | undefined;
  planError: string;
  cancelWatch: () => void;
}

/** This node's part in a capture: all of its workers, each with files of its own. */
export class NodeCapture {
  #part: RunningPart | undefined;

  constructor(
    private readonly node: NodeContext,
    private readonly workers: () => Workers,
    /** Whether clients of the SQL port have to speak TLS. */
    private readonly needsTls: () => boolean,
  ) {}

  get isUnderWay(): boolean {
    return this.#part !== undefined;
  }

  /** Resolves when every worker captures; when one cannot, none does. Rejects with a BinnacleError that is fit for the operator. */
  async start(order: PartOrder): Promise<PartProgress> {
    if (this.#part !== undefined) throw new BinnacleError('CONFLICT', `proxy node ${this.node.id} still captures for ${this.#part.order.job}`);
    const numbers = this.workers().runningNumbers();
    if (numbers.length === 0) throw new BinnacleError('NOT_READY', `the SQL port of proxy node ${this.node.id} is not open`);
    // Taken at once: a second order that comes while this one waits must find it.
    const outputs = new Map<number, string>();
    const part: RunningPart = { order, outputs, last: new Map(), ending: undefined, planError: '', cancelWatch: () => {} };
    this.#part = part;
    try {
      await this.#begin(part, outputs, numbers);
    } catch (error) {
      await this.#stopWorkers(part, { state: 'failed', reason: 'it could not begin everywhere' });
      this.#part = undefined;
      throw error;
    }
    this.#watch(part);
    return this.#sum(part, 'running', '');
  }

  /** Undefined when this node has no part in that job. Being asked keeps it going. */
  async progress(job: string): Promise<PartProgress | undefined> {
    const part = this.#part;
    if (part === undefined || part.order.job !== job) return undefined;
    if (part.ending !== undefined) return part.ending;
    this.#watch(part);
    return this.#look(part);
  }

  /** Writes what is buffered, and answers with the last numbers; undefined when this node has no part in that job. Never rejects. */
  async stop(job: string, end: PartEnd): Promise<PartProgress | undefined> {
    const part = this.#part;
    if (part === undefined || part.order.job !== job) return undefined;
    return this.#end(part, end, end.state === 'failed' ? 'failed' : 'done');
  }

  /** The node shuts down: whoever runs the job goes on without it. */
  async leave(): Promise<{ readonly order: PartOrder; readonly progress: PartProgress } | undefined> {
    const part = this.#part;
    if (part === undefined || part.ending !== undefined) return undefined;
    return { order: part.order, progress: await this.#end(part, { state: 'done', reason: '' }, 'left') };
  }

  async #begin(part: RunningPart, outputs: Map<number, string>, numbers: readonly number[]): Promise<void> {
    const { order } = part;
    const { config } = this.node;
    const place = await trafficPlace('output', order.output, trafficRoots(config.dataDir, config.proxy.trafficRoots));
    const store = storeSettings(config.remote);
    await checkFree(place, store, this.node.id, order.nodes);
    const keyFile = order.encryptMethod === '' ? '' : await this.#keyFile();
    // What was sealed under another secret is refused now and not in an hour.
    if (order.explain !== undefined) openText(order.explain, this.node.clusterSecret);
    const { job, compress, encryptMethod, layers } = order;
    const common = { job, compress, encryptMethod, layers, keyFile, store, node: this.node.id, nodes: order.nodes, workers: numbers, temporaryFolder: join(config.dataDir, 'tmp') };
    for (const number of numbers) outputs.set(number, this.#outputOf(place, order, number));
    const started = await Promise.allSettled(
      numbers.map((worker) => this.workers().askOne(worker, 'captureStart', { ...common, output: outputs.get(worker) as string, worker } satisfies CaptureOrder, startDeadlineMs)),
    );
    const failed = started.find((each) => each.status === 'rejected');
    if (failed !== undefined) throw new BinnacleError('BAD_REQUEST', `proxy node ${this.node.id}: ${(failed.reason as Error).message}`);
  }

  #outputOf(place: string, { nodes }: PartOrder, worker: number): string {
    const name = this.#partName(nodes.length > 1, worker);
    if (name === '') return place;
    return place.startsWith('s3://') ? `${place}/${name}` : join(place, name);
  }

  /** With one node and one worker the output itself is TiProxy's folder; else each has one in it. */
  #partName(isOneOfSeveral: boolean, worker: number): string {
    const isOneWorker = this.workers().total === 1;
    if (isOneWorker) return isOneOfSeveral ? this.node.id : '';
    return `${this.node.id}-w${worker}`;
  }

  async #keyFile(): Promise<string> {
    const path = this.node.config.security.encryptionKeyPath;
    if (path === '') throw new BinnacleError('BAD_REQUEST', 'failed to load encryption key: security.encryption-key-path is not set');
    try {
      await readKeyFile(path);
    } catch (error) {
      throw new BinnacleError('BAD_REQUEST', `failed to load encryption key: ${(error as Error).message}`);
    }
    return path;
  }

  #watch(part: RunningPart): void {
    part.cancelWatch();
    part.cancelWatch = this.node.clock.after(unaskedMsMax, () => {
      this.node.log.warn({ job: part.order.job }, 'a capture ends here: the proxy node that runs it does not ask any more');
      void this.#end(part, { state: 'failed', reason: `proxy node ${part.order.runner}, which ran it, did not ask any more` }, 'failed');
    });
  }

  async #look(part: RunningPart): Promise<PartProgress> {
    for (const number of part.outputs.keys()) {
      let progress: CaptureProgress | undefined;
      try {
        progress = await this.workers().askOne(number, 'captureProgress', {}, progressDeadlineMs);
      } catch {
        // One that died is started again, and then knows of no capture; one that is busy answers the next time.
        progress = this.workers().runningNumbers().includes(number) ? part.last.get(number) : undefined;
      }
      const name = this.#nameOf(number);
      if (progress === undefined) return this.#sum(part, 'failed', `${name} died: what its sessions did since then is missing`);
      part.last.set(number, progress);
      if (progress.state === 'failed') return this.#sum(part, 'failed', `${name}: ${progress.error}`);
    }
    return this.#sum(part, 'running', '');
  }

  #nameOf(worker: number): string {
    return this.workers().total === 1 ? `proxy node ${this.node.id}` : `worker ${worker} of proxy node ${this.node.id}`;
  }

  #end(part: RunningPart, end: PartEnd, state: PartProgress['state']): Promise<PartProgress> {
    part.ending ??= this.#stopWorkers(part, end)
      .then(async (errors) => {
        if (state === 'done') await this.#explain(part);
        return this.#sum(part, errors.length > 0 ? 'failed' : state, errors[0] ?? '');
      })
      .finally(() => {
        if (this.#part === part) this.#part = undefined;
      });
    return part.ending;
  }

  /** What went wrong meanwhile. Never rejects. */
  async #stopWorkers(part: RunningPart, end: PartEnd): Promise<string[]> {
    part.cancelWatch();
    const errors = await Promise.all([...part.outputs.keys()].map(async (number) => {
      try {
        const progress = await this.workers().askOne(number, 'captureStop', { ...end, job: part.order.job }, workerStopDeadlineMs);
        if (progress === undefined) return [];
        part.last.set(number, progress);
        return progress.state === 'failed' && end.state !== 'failed' ? [`${this.#nameOf(number)}: ${progress.error}`] : [];
      } catch (error) {
        return [`${this.#nameOf(number)}: ${(error as Error).message}`];
      }
    }));
    return errors.flat();
  }

  /** Afterwards, so that it costs nothing while traffic runs and is not captured itself. Without plans a capture is one all the same. Never rejects. */
  async #explain(part: RunningPart): Promise<void> {
    const { order, outputs } = part;
    const { config, clusterSecret, clock, log } = this.node;
    const target = sqlTarget(this.workers().addresses[0], this.needsTls());
    if (order.explain === undefined || target === undefined) return;
    const account = JSON.parse(openText(order.explain, clusterSecret)) as Account;
    const keyFile = order.encryptMethod === '' ? '' : config.security.encryptionKeyPath;
    try {
      const plans = await explainInProcess({ outputs: [...outputs.values()], store: storeSettings(config.remote), keyFile, target, ...account, timeoutMs: explainMs }, clock, explainMs + explainGraceMs);
      log.info({ job: order.job, plans }, 'the plans of a capture are written');
    } catch (error) {
      log.warn({ err: error, job: order.job }, 'a capture has no plans');
      part.planError = (error as Error).message;
    }
  }

  #sum(part: RunningPart, state: PartProgress['state'], error: string): PartProgress {
    const places = Object.fromEntries([...part.outputs].map(([number, place]) => [this.#partName(true, number), place]));
    return { state, error, ...(part.planError !== '' && { planError: part.planError }), captured: [...part.last.values()].reduce<Captured>(addCaptured, nothingCaptured), places };
  }
}

export function addCaptured(sum: Captured, one: Captured): Captured {
  return {
    commands: sum.commands + one.commands,
    leftOut: addCounts(sum.leftOut, one.leftOut),
    results: sum.results + one.results,
    bytes: sum.bytes + one.bytes,
    sessions: sum.sessions + one.sessions,
    waiting: sum.waiting + one.waiting,
    incomplete: addCounts(sum.incomplete, one.incomplete),
  };
}

function addCounts(a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>): Record<string, number> {
  const sum = { ...a };
  for (const [why, count] of Object.entries(b)) sum[why] = (sum[why] ?? 0) + count;
  return sum;
}

/**
 * Files of an earlier capture would be replayed with those of this one. In a place that nodes share, parts of the others of this capture may be there already: each node
 * looks after what bears its own name.
 */
async function checkFree(place: string, store: S3StoreOptions, ownId: string, nodes: readonly string[]): Promise<void> {
  const ofOthers = (name: string): boolean => nodes.some((id) => id !== ownId && (name === id || /^-w\d+$/.test(name.slice(id.length)) && name.startsWith(id)));
  for (const path of await pathsIn(place, store)) {
    const [name = '', folder = ''] = path.split('/').toReversed();
    if (!isOfCapture(name) || ofOthers(folder)) continue;
    throw new BinnacleError('BAD_REQUEST', `file ${name} already exists in ${place}${folder === '' ? '' : `/${folder}`}, please remove it before capture`);
  }
}

function isOfCapture(name: string): boolean {
  return name === 'meta' || /^(traffic|results)[.-]/.test(name);
}

/** `meta`, `NODE/meta`; nothing of what is no folder, or is not there. */
async function pathsIn(place: string, store: S3StoreOptions): Promise<readonly string[]> {
  let input: TrafficInput | undefined;
  try {
    input = await openInput(place, store);
    return (await input.list()).map(({ path }) => path);
  } catch (error) {
    const { code, message, path } = error as NodeJS.ErrnoException;
    if ((code === 'ENOENT' || code === 'ENOTDIR') && path === input?.name) return [];
    throw new BinnacleError('BAD_REQUEST', `output cannot be used: ${code ?? message}`, { cause: error });
  } finally {
    await input?.close();
  }
}
