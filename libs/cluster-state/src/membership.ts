import type { Clock } from './clock.js';
import type { ClusterState, NodeRecord, Unsubscribe } from './cluster-state.js';
import { checkDuration } from './limits.js';

export interface MembershipOptions {
  /** What the registry shall show of this node; asked before every heartbeat. Id and incarnation stay the same. */
  readonly record: () => NodeRecord;
  /** The node is gone when unheard of for this long. */
  readonly ttlMs: number;
  /**
   * Another live process has this node's id: its record was found in place of this one's twice in a row. Called once a minute at most.
   * A former process that ends, or was killed, leaves its record at most once.
   */
  readonly onDuplicateId?: (other: NodeRecord) => void;
}

/** Heartbeats go out every third of the ttl: two may be lost. */
const heartbeatsPerTtl = 3;
/** With the store away, the next attempt comes this soon at least. */
const retryDelayMsMax = 1_000;
const duplicateIdIntervalMs = 60_000;

/** Keeps this node in the registry: heartbeats, and its leave. Survives a store that is away, and registers again when it is back. */
export class Membership {
  readonly #state: ClusterState;
  readonly #clock: Clock;
  readonly #options: MembershipOptions;
  #running = false;
  #revision = 0;
  #inFlight: Promise<void> | undefined;
  /** One more heartbeat after the one under way, for all who asked meanwhile. */
  #next: Promise<void> | undefined;
  /** Heartbeats in a row, the first of all left out, that found the record of another incarnation. */
  #timesReplaced = 0;
  #wasHeard = false;
  #lastDuplicateIdMs = -Infinity;
  #registered: { readonly id: string; readonly incarnation: string } | undefined;
  #unsubscribe: Unsubscribe = () => {};
  #cancelTimer: () => void = () => {};

  constructor(state: ClusterState, clock: Clock, options: MembershipOptions) {
    checkDuration('ttlMs', options.ttlMs);
    this.#state = state;
    this.#clock = clock;
    this.#options = options;
  }

  /** Resolves after the first heartbeat, also when the store is away: the node joins when it is back. */
  async start(): Promise<void> {
    this.#running = true;
    this.#unsubscribe = this.#state.onAvailabilityChange(({ available }) => available && void this.refresh());
    await this.refresh();
  }

  /** Sends the record as it is now. Resolves when the store has it or did not take it; heartbeats repeat it in either case. */
  async refresh(): Promise<void> {
    if (!this.#running) return;
    if (this.#inFlight === undefined) return this.#send();
    // The heartbeat under way was put together before now and may not show what is to be shown.
    this.#next ??= this.#inFlight.then(() => {
      this.#next = undefined;
      return this.#send();
    });
    return this.#next;
  }

  /** The newest committed revision this node has heard of; against `appliedRevision` it gives the lag. */
  committedRevision(): number {
    return this.#revision;
  }

  /** Takes the node out of the registry at once, if the store answers; else it goes by itself. */
  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    this.#unsubscribe();
    this.#cancelTimer();
    // A heartbeat that comes after the leave would register the node again.
    await this.#next;
    await this.#inFlight;
    if (this.#registered === undefined) return;
    try {
      await this.#state.deregister(this.#registered.id, this.#registered.incarnation);
    } catch {
      // The store is away: the record runs out after its ttl.
    }
  }

  #send(): Promise<void> {
    if (!this.#running) return Promise.resolve();
    this.#cancelTimer();
    this.#inFlight = this.#heartbeat().then((delayMs) => {
      this.#inFlight = undefined;
      if (this.#running) this.#cancelTimer = this.#clock.after(delayMs, () => void this.refresh());
    });
    return this.#inFlight;
  }

  /** Sends one, and says after how many milliseconds to send the next. Never rejects. */
  async #heartbeat(): Promise<number> {
    const { ttlMs, record } = this.#options;
    try {
      const node = record();
      this.#registered = { id: node.id, incarnation: node.incarnation };
      const { revision, replaced } = await this.#state.heartbeat(node, ttlMs);
      this.#revision = revision;
      this.#noteReplaced(replaced);
      return ttlMs / heartbeatsPerTtl;
    } catch {
      // `availability()` says that the store is away.
      return Math.min(ttlMs / heartbeatsPerTtl, retryDelayMsMax);
    }
  }

  #noteReplaced(other: NodeRecord | undefined): void {
    // What the first one finds may be left of the process before this one.
    this.#timesReplaced = this.#wasHeard && other !== undefined ? this.#timesReplaced + 1 : 0;
    this.#wasHeard = true;
    const nowMs = this.#clock.monotonicMs();
    if (other === undefined || this.#timesReplaced < 2 || nowMs - this.#lastDuplicateIdMs < duplicateIdIntervalMs) return;
    this.#lastDuplicateIdMs = nowMs;
    this.#options.onDuplicateId?.(other);
  }
}
