import type { Clock } from '@binnacle/cluster-state/clock';
import type { Logger } from 'pino';
import type { RoutingView } from '../backends/backend.js';
import type { SessionCount } from '../balance/orders.js';
import { type BackendStays, summedStays } from './backend-stays.js';
import { sumUsage, type TenantUsage } from '../tenants/tenants.js';
import type { NodeQuestions, SessionFilter, SessionList, SessionSummary, WorkerOrder, WorkerQuestions, WorkerReport, WorkerSetup } from './worker-protocol.js';

/** One of those that hold sessions, as the main process sees it: in this process, or a fork of it. */
export interface WorkerPort {
  order(order: WorkerOrder): void;
  ask<Kind extends keyof WorkerQuestions>(kind: Kind, body: WorkerQuestions[Kind]['ask'], deadlineMs: number): Promise<WorkerQuestions[Kind]['answer']>;
  /** Ends it; sessions it still holds are cut. Resolves when it has gone. */
  end(): Promise<void>;
}

/** What the main process is to a worker. */
export interface WorkerUplink {
  report(report: WorkerReport): void;
  ask<Kind extends keyof NodeQuestions>(kind: Kind, body: NodeQuestions[Kind]['ask']): Promise<NodeQuestions[Kind]['answer']>;
}

/** Makes a worker; `died` is called once when it ends without having been told to. */
export type WorkerMaker = (number: number, uplink: WorkerUplink, died: (reason: string) => void) => WorkerPort;

export interface WorkersParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** As of now: a worker that starts again begins with what the others know. */
  setup(number: number): WorkerSetup;
  view(): RoutingView;
  make: WorkerMaker;
  reported(worker: number, report: WorkerReport): void;
  asked<Kind extends keyof NodeQuestions>(kind: Kind, body: NodeQuestions[Kind]['ask']): Promise<NodeQuestions[Kind]['answer']>;
  /** A worker died, and its sessions with it. */
  lost(worker: number, sessions: number): void;
}

/** From the fork of a process to its open port; machines under test are slow. */
const startDeadlineMs = 30_000;
/** A worker busy for longer is as good as gone for whoever asks. */
export const askDeadlineMs = 5_000;
const restartDelayMsMin = 100;
const restartDelayMsMax = 10_000;
/** A worker that lived this long is started again at once when it dies. */
const livedMs = 60_000;

interface Slot {
  port: WorkerPort | undefined;
  startedAtMs: number;
  restartDelayMs: number;
  cancelRestart: () => void;
  counts: readonly SessionCount[];
  sessions: number;
  tenants: TenantUsage;
}

/** All workers of this node: orders for all of them, answers put together, a new one for each that dies. */
export class Workers {
  readonly #slots: Slot[];
  #addresses: readonly string[] = [];
  #stopping = false;

  constructor(
    private readonly parts: WorkersParts,
    readonly total: number,
  ) {
    this.#slots = Array.from({ length: total }, () => ({
      port: undefined,
      startedAtMs: 0,
      restartDelayMs: restartDelayMsMin,
      cancelRestart: () => {},
      counts: [],
      sessions: 0,
      tenants: {},
    }));
  }

  /** Addresses of the SQL port, `host:port`; empty until it is open. */
  get addresses(): readonly string[] {
    return this.#addresses;
  }

  /** Resolves when every worker listens. Rejects with what the first one says that cannot. */
  async start(): Promise<void> {
    // One after the other: with port 0 the first one chooses for all.
    for (const number of this.#slots.keys()) this.#addresses = await this.#start(number);
  }

  order(order: WorkerOrder): void {
    for (const { port } of this.#slots) port?.order(order);
  }

  orderOne(worker: number, order: WorkerOrder): void {
    this.#slots[worker]?.port?.order(order);
  }

  /** The answers of those that gave one in time. */
  async askAll<Kind extends keyof WorkerQuestions>(kind: Kind, body: WorkerQuestions[Kind]['ask']): Promise<{ worker: number; answer: WorkerQuestions[Kind]['answer'] }[]> {
    const answers = await Promise.all(this.#slots.map(async ({ port }, worker) => {
      if (port === undefined) return [];
      try {
        return [{ worker, answer: await port.ask(kind, body, askDeadlineMs) }];
      } catch (error) {
        this.parts.log.warn({ err: error, worker, question: kind }, 'a worker of the SQL proxy did not answer');
        return [];
      }
    }));
    return answers.flat();
  }

  /** Rejects when there is no such worker now, when it dies, and at the deadline. */
  async askOne<Kind extends keyof WorkerQuestions>(worker: number, kind: Kind, body: WorkerQuestions[Kind]['ask'], deadlineMs: number): Promise<WorkerQuestions[Kind]['answer']> {
    const port = this.#slots[worker]?.port;
    if (port === undefined) throw new Error('it does not run');
    return port.ask(kind, body, deadlineMs);
  }

  /** Asks the one that holds the session; undefined when none does. */
  async askHolder<Kind extends 'session' | 'migrate' | 'close'>(
    kind: Kind,
    body: WorkerQuestions[Kind]['ask'],
    deadlineMs = askDeadlineMs,
  ): Promise<WorkerQuestions[Kind]['answer'] | undefined> {
    const port = this.#slots[workerOf(body.id, this.total)]?.port;
    return port?.ask(kind, body, deadlineMs);
  }

  async list(filter: SessionFilter): Promise<SessionList> {
    const lists = (await this.askAll('sessions', filter)).map(({ answer }) => answer);
    return mergedLists(lists, filter.limit);
  }

  async stays(backend: string): Promise<BackendStays> {
    return summedStays((await this.askAll('stays', { backend })).map(({ answer }) => answer));
  }

  session(id: number): Promise<SessionSummary | undefined> {
    return this.askHolder('session', { id });
  }

  /** Sessions by worker. */
  sessions(): readonly number[] {
    return this.#slots.map((slot) => slot.sessions);
  }

  counts(): readonly (readonly SessionCount[])[] {
    return this.#slots.map((slot) => slot.counts);
  }

  /** Numbers of those that run now. */
  runningNumbers(): number[] {
    return [...this.#slots.keys()].filter((number) => this.#slots[number]?.port !== undefined);
  }

  /** Ends all of them; nothing is started again from now on. */
  async end(): Promise<void> {
    this.startNoMore();
    await Promise.all(this.#slots.map(async (slot) => {
      await slot.port?.end();
      slot.port = undefined;
    }));
  }

  /** From now on a worker that ends is not replaced: its port is closing. */
  startNoMore(): void {
    this.#stopping = true;
    for (const slot of this.#slots) slot.cancelRestart();
  }

  async #start(number: number): Promise<readonly string[]> {
    const slot = this.#slots[number] as Slot;
    const uplink: WorkerUplink = {
      report: (report) => {
        if (report.kind === 'counts') {
          slot.counts = report.counts;
          slot.sessions = report.sessions;
          slot.tenants = report.tenants;
          this.#tellOthers();
        }
        this.parts.reported(number, report);
      },
      ask: (kind, body) => this.parts.asked(kind, body),
    };
    let started = false;
    let diedOf: string | undefined;
    const port = this.parts.make(number, uplink, (reason) => {
      // While it starts, whoever starts it tells of it: one that dies must be followed by one.
      if (started) this.#died(number, reason);
      else diedOf = reason;
    });
    slot.port = port;
    slot.startedAtMs = this.parts.clock.monotonicMs();
    try {
      const { addresses } = await port.ask('start', this.parts.setup(number), startDeadlineMs);
      if (diedOf !== undefined || this.#stopping) throw new Error('it is not needed any more');
      started = true;
      port.order({ kind: 'view', view: this.parts.view() });
      return addresses;
    } catch (error) {
      slot.port = undefined;
      await port.end();
      throw diedOf === undefined ? error : new Error(`a worker of the SQL proxy died while it started: ${diedOf}`, { cause: error });
    }
  }

  /** Limits of namespaces and of the node hold for all workers together. */
  #tellOthers(): void {
    if (this.total === 1) return;
    for (const slot of this.#slots) {
      const others = this.#slots.filter((other) => other !== slot);
      slot.port?.order({ kind: 'others', sessions: others.reduce((sum, { sessions }) => sum + sessions, 0), tenants: sumUsage(others.map(({ tenants }) => tenants)) });
    }
  }

  #died(number: number, reason: string): void {
    const slot = this.#slots[number] as Slot;
    const { sessions } = slot;
    slot.port = undefined;
    slot.counts = [];
    slot.sessions = 0;
    slot.tenants = {};
    this.#tellOthers();
    this.parts.log.error({ worker: number, reason, sessions }, `a worker of the SQL proxy died (${reason}), and ${sessions} sessions with it`);
    this.parts.lost(number, sessions);
    if (this.parts.clock.monotonicMs() - slot.startedAtMs >= livedMs) slot.restartDelayMs = restartDelayMsMin;
    this.#restartLater(number);
  }

  #restartLater(number: number): void {
    if (this.#stopping) return;
    const slot = this.#slots[number] as Slot;
    slot.cancelRestart = this.parts.clock.after(slot.restartDelayMs, () => {
      this.#start(number).catch((error: unknown) => {
        if (this.#stopping) return;
        this.parts.log.error({ err: error, worker: number }, 'a worker of the SQL proxy cannot start again');
        this.#restartLater(number);
      });
    });
    slot.restartDelayMs = Math.min(slot.restartDelayMs * 2, restartDelayMsMax);
  }
}

/** Session ids say which worker holds them, so that nobody has to ask all. */
export function workerOf(sessionId: number, workersTotal: number): number {
  return sessionId % workersTotal;
}

/** Lists of several workers, or of several nodes, as one. */
export function mergedLists<Summary extends { readonly id: number }>(
  lists: readonly { readonly sessions: readonly Summary[]; readonly total: number }[],
  limit: number,
): { sessions: Summary[]; total: number } {
  const sessions = lists.flatMap((list) => list.sessions).sort((a, b) => a.id - b.id);
  return { sessions: sessions.slice(0, limit), total: lists.reduce((sum, list) => sum + list.total, 0) };
}
