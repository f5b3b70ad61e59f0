import type { Clock } from './clock.js';
import type { ClusterState, Unsubscribe, WatchTopic } from './cluster-state.js';

/** A watch brings a change within milliseconds; when its message is lost, this keeps to the second that is promised. */
const pollIntervalMs = 900;

/**
 * Keeps a view of one topic current: reads it at the start, after every hint of a change, when the store is back, and at an interval.
 * One read at a time; a hint that comes during one is followed by another.
 */
export class Follower {
  readonly #subscriptions: Unsubscribe[] = [];
  #running = false;
  #inFlight: Promise<void> | undefined;
  #readAgain = false;
  #cancelTimer: () => void = () => {};

  /** `read` may reject while the store is away: the last view stays then, and `availability()` says why it is old. */
  constructor(
    private readonly state: Pick<ClusterState, 'watch' | 'onAvailabilityChange'>,
    private readonly clock: Clock,
    private readonly topic: WatchTopic,
    private readonly read: () => Promise<void>,
  ) {}

  isRunning(): boolean {
    return this.#running;
  }

  /** Resolves after the first read, whether it succeeded or not. */
  async start(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    this.#subscriptions.push(
      this.state.watch(this.topic, () => this.#refresh()),
      this.state.onAvailabilityChange(({ available }) => available && this.#refresh()),
    );
    this.#refresh();
    await this.#inFlight;
  }

  stop(): void {
    this.#running = false;
    this.#cancelTimer();
    for (const unsubscribe of this.#subscriptions.splice(0)) unsubscribe();
  }

  #refresh(): void {
    if (!this.#running) return;
    if (this.#inFlight !== undefined) {
      this.#readAgain = true;
      return;
    }
    this.#cancelTimer();
    this.#readAgain = false;
    this.#inFlight = this.#readOnce().then(() => {
      this.#inFlight = undefined;
      if (this.#readAgain) this.#refresh();
      else if (this.#running) this.#cancelTimer = this.clock.after(pollIntervalMs, () => this.#refresh());
    });
  }

  async #readOnce(): Promise<void> {
    try {
      await this.read();
    } catch {
      // As the constructor says: the last view stays.
    }
  }
}
