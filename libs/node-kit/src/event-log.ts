import type { Clock } from '@binnacle/cluster-state/clock';

/** What happened. All but `type`, which names the event, is its data. */
export interface Happening {
  readonly type: string;
}

export interface LoggedEvent<Change extends Happening> {
  /** Microseconds since 1970 at the earliest; always greater than the one before. */
  readonly id: number;
  readonly atMs: number;
  readonly change: Change;
}

export interface Replay<Change extends Happening> {
  /** Events between the asked id and the first of these may be missing. */
  readonly gap: boolean;
  readonly events: readonly LoggedEvent<Change>[];
}

/**
 * How far the logs of two nodes may be apart on the same change: one registry poll and a clock's skew. A client that comes
 * over from another node gets this much twice rather than not at all.
 */
const overlapUs = 2_000_000;

/** The last changes seen, for those who come back and say what they saw last. */
export class EventLog<Change extends Happening> {
  readonly #events: LoggedEvent<Change>[] = [];
  readonly #listeners = new Set<(event: LoggedEvent<Change>) => void>();
  readonly #firstId: number;
  #lastId: number;

  constructor(
    private readonly clock: Clock,
    /** About 300 bytes each. */
    private readonly eventsMax: number,
  ) {
    this.#firstId = clock.nowMs() * 1_000;
    this.#lastId = this.#firstId;
  }

  append(change: Change): void {
    const atMs = this.clock.nowMs();
    // Time based, so that ids also grow over a restart and mean about the same on every node; the wall clock may step back.
    this.#lastId = Math.max(this.#lastId + 1, atMs * 1_000);
    const event = { id: this.#lastId, atMs, change };
    this.#events.push(event);
    if (this.#events.length > this.eventsMax) this.#events.shift();
    for (const listener of this.#listeners) listener(event);
  }

  /** What came after an id: exactly, when the id is one of this log's; with an overlap, when another node gave it out. */
  since(id: number): Replay<Change> {
    const index = this.#events.findIndex((event) => event.id === id);
    if (index >= 0) return { gap: false, events: this.#events.slice(index + 1) };
    const reachesBackTo = this.#events.length < this.eventsMax ? this.#firstId : (this.#events[0]?.id ?? this.#firstId);
    return { gap: id < reachesBackTo, events: this.#events.filter((event) => event.id > id - overlapUs) };
  }

  onAppend(listener: (event: LoggedEvent<Change>) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
