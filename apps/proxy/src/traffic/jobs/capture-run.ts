import { BinnacleError } from '@binnacle/contracts/errors';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import type { ProxyPeers } from '../../process/proxy-peers.js';
import type { CaptureWish } from './capture-form.js';
import { addCaptured, type NodeCapture, type PartEnd, type PartOrder, type PartProgress, stopDeadlineMs } from './node-capture.js';
import { sealText } from './sealed-text.js';
import { type CaptureJob, nothingCaptured } from './traffic-job.js';

/** What other proxy nodes answer to orders about their parts: refusals keep their words. */
export type PartAnswer = { readonly progress: PartProgress } | { readonly error: string };

const startTimeoutMs = 25_000;
const askEveryMs = 1_000;
const askTimeoutMs = 8_000;
/** So many answers of a proxy node may be missing one after the other: it is slow, not gone. */
const missedMax = 2;

export interface CaptureParts {
  readonly node: NodeContext;
  readonly peers: ProxyPeers;
  readonly own: NodeCapture;
}

interface Part {
  /** Undefined: this node's own. */
  readonly peer: NodeRecord | undefined;
  missed: number;
  last: PartProgress | undefined;
}

/** One capture on all proxy nodes at the same time, as the node sees it that runs it. */
export class CaptureRun {
  readonly #parts = new Map<string, Part>();
  readonly #notes: string[] = [];
  /** Settles with how it ended. */
  readonly ended: Promise<CaptureJob>;
  #finish: (job: CaptureJob) => void = () => {};
  #ending: Promise<void> | undefined;
  #end: PartEnd | undefined;
  #cancelDuration = (): void => {};
  #cancelLook = (): void => {};
  #startedMs = 0;

  constructor(
    private readonly deps: CaptureParts,
    private readonly wish: CaptureWish,
    private job: CaptureJob,
    /** Called every second while it runs. */
    private readonly changed: (job: CaptureJob) => void,
  ) {
    this.ended = new Promise((resolve) => (this.#finish = resolve));
  }

  get current(): CaptureJob {
    return this.job;
  }

  get isEnding(): boolean {
    return this.#ending !== undefined;
  }

  /** Resolves when all proxies capture. Rejects when one of them cannot, and then none does. */
  async start(): Promise<void> {
    const { node, peers, own } = this.deps;
    // One that shuts down ends its sessions. One that seems not to be up yet may be: it is asked, because a part must not be missing without a word.
    const others = peers.others().filter(({ state }) => state !== 'stopping');
    const { output, durationMs, compress, encryptMethod, layers, explain } = this.wish;
    const sealed = explain === undefined ? {} : { explain: sealText(JSON.stringify(explain), node.clusterSecret) };
    const order: PartOrder = { job: this.job.id, runner: node.id, nodes: [node.id, ...others.map(({ id }) => id)], output, compress, encryptMethod, layers, ...sealed };
    for (const [id, peer] of [[node.id, undefined] as const, ...others.map((each) => [each.id, each] as const)]) this.#parts.set(id, { peer, missed: 0, last: undefined });
    const started = await Promise.allSettled(
      [...this.#parts].map(async ([id, part]) => {
        part.last = part.peer === undefined ? await own.start(order) : await this.#ask(id, part.peer, 'start', order, startTimeoutMs);
        if (part.last === undefined) throw new BinnacleError('UPSTREAM_UNREACHABLE', `proxy node ${id} cannot capture: it runs another version`);
      }),
    );
    const failed = started.find((each) => each.status === 'rejected');
    if (failed !== undefined || this.#ending !== undefined) {
      const reason = failed === undefined ? 'it was ended while it began' : 'it could not begin on all proxy nodes';
      await this.#stopParts({ state: 'failed', reason });
      throw failed?.reason ?? new BinnacleError('CONFLICT', reason);
    }
    this.#startedMs = node.clock.monotonicMs();
    this.#cancelDuration = node.clock.after(durationMs, () => void this.end({ state: 'done', reason: '' }));
    this.#refresh();
    this.#lookLater();
  }

  /** Writes what is buffered everywhere. Resolves, and never rejects, when it has ended; the first reason counts. */
  end(end: PartEnd): Promise<void> {
    this.#end ??= end;
    this.#ending ??= this.#endAll(end);
    return this.#ending;
  }

  /** It could not begin. */
  abandon(error: string): void {
    const { state, reason } = this.#end ?? { state: 'failed', reason: error };
    this.#finish({ ...this.job, state, error: reason, endedAtMs: this.deps.node.clock.nowMs() });
  }

  /** A proxy node shuts down; its part is complete until then. */
  left(id: string, progress: PartProgress): void {
    const part = this.#parts.get(id);
    if (part === undefined) return;
    part.last = progress;
    this.#notes.push(`proxy node ${id} shut down at ${new Date(this.deps.node.clock.nowMs()).toISOString()}: its part ends there`);
  }

  async #endAll(end: PartEnd): Promise<void> {
    const { clock } = this.deps.node;
    this.#cancelDuration();
    this.#cancelLook();
    // It may still be about to begin: `start` then stops what has begun.
    if (this.#startedMs === 0) return;
    const elapsedMs = clock.monotonicMs() - this.#startedMs;
    await this.#stopParts(end);
    for (const [id, { last }] of this.#parts) if (last?.planError !== undefined) this.#notes.push(`proxy node ${id} has no plans: ${last.planError}`);
    const failed = this.#failure();
    const { state, reason } = end.state === 'done' && failed !== undefined ? ({ state: 'failed', reason: failed } as const) : end;
    this.#refresh();
    this.job = { ...this.job, state, error: reason, endedAtMs: clock.nowMs(), progress: state === 'done' ? 100 : this.#share(elapsedMs) };
    this.#finish(this.job);
  }

  async #stopParts(end: PartEnd): Promise<void> {
    const { own, node } = this.deps;
    await Promise.all([...this.#parts].map(async ([id, part]) => {
      if (part.last?.state === 'left') return;
      try {
        const ended = part.peer === undefined ? await own.stop(this.job.id, end) : await this.#ask(id, part.peer, 'stop', end, stopDeadlineMs + 5_000);
        if (ended !== undefined) part.last = ended;
      } catch (error) {
        node.log.warn({ err: error, job: this.job.id, target: id }, 'a proxy node did not end its part of a capture');
        if (part.last !== undefined) part.last = { ...part.last, state: 'failed', error: (error as Error).message };
      }
    }));
  }

  #lookLater(): void {
    this.#cancelLook = this.deps.node.clock.after(askEveryMs, () => void this.#look());
  }

  async #look(): Promise<void> {
    await Promise.all([...this.#parts].map(([id, part]) => this.#lookAt(id, part)));
    if (this.#ending !== undefined) return;
    this.#refresh();
    this.changed(this.job);
    const failed = this.#failure();
    if (failed === undefined) return this.#lookLater();
    void this.end({ state: 'failed', reason: failed });
  }

  async #lookAt(id: string, part: Part): Promise<void> {
    if (part.last?.state === 'left') return;
    try {
      const progress = part.peer === undefined ? await this.deps.own.progress(this.job.id) : await this.#ask(id, part.peer, 'progress', {}, askTimeoutMs);
      // It may have left while it was asked.
      if ((part.last as PartProgress | undefined)?.state === 'left') return;
      part.last = progress ?? { ...(part.last as PartProgress), state: 'failed', error: `proxy node ${id} started again, and knows nothing of the capture any more` };
      part.missed = 0;
    } catch (error) {
      part.missed++;
      if (part.missed > missedMax && part.last !== undefined) part.last = { ...part.last, state: 'failed', error: (error as Error).message };
    }
  }

  /** Undefined when the peer knows nothing of the job. Rejects with its own words where it refuses. */
  async #ask(id: string, peer: NodeRecord, what: 'start' | 'progress' | 'stop', body: object, timeoutMs: number): Promise<PartProgress | undefined> {
    const answer = await this.deps.peers.ask<PartAnswer>(peer, 'POST', `traffic/capture/${what}?job=${this.job.id}`, { body, timeoutMs });
    if (answer === undefined) return undefined;
    if ('error' in answer) throw new BinnacleError('BAD_REQUEST', answer.error.includes(id) ? answer.error : `proxy node ${id}: ${answer.error}`);
    return answer.progress;
  }

  #failure(): string | undefined {
    return [...this.#parts.values()].map(({ last }) => (last?.state === 'failed' ? last.error : undefined)).find((error) => error !== undefined);
  }

  #refresh(): void {
    const lasts = [...this.#parts.values()].flatMap(({ last }) => last ?? []);
    this.job = {
      ...this.job,
      progress: this.#share(this.deps.node.clock.monotonicMs() - this.#startedMs),
      captured: lasts.map(({ captured }) => captured).reduce(addCaptured, nothingCaptured),
      parts: Object.assign({}, ...lasts.map(({ places }) => places)) as Record<string, string>,
      notes: [...this.#notes],
    };
  }

  /** Of the duration. */
  #share(elapsedMs: number): number {
    return Math.min(99, Math.floor((elapsedMs / this.wish.durationMs) * 100));
  }
}
