import { NodeContext } from '@binnacle/node-kit/node-context';
import { forwardedParts } from './forwarding/forwarder.js';
import { RawMessageWriter } from './forwarding/raw-message-writer.js';
import type { MetricEvent } from './messages/metric-event.js';
import { HandOver } from './ownership/hand-over.js';
import type { Ownership } from './ownership/ownership.js';
import type { Series } from './series/series.js';
import type { SeriesStore } from './series/series-store.js';
import type { Journal } from './spool/journal.js';
import type { Spool, SpoolPart } from './spool/spool.js';
import { rowsOf } from './tables/rows.js';

export interface FlushesOptions {
  readonly node: NodeContext;
  readonly store: SeriesStore;
  readonly spool: Spool;
  readonly ownership: Ownership;
  /** Whether flushes are sent on. */
  readonly isForwarding: boolean;
  /** The events since the last call. */
  readonly takeEvents: () => readonly MetricEvent[];
  /** Awaited before each interval ends. Never rejects. */
  readonly beforeFlush: () => Promise<void>;
  /** There is something new in the spool. */
  readonly onWritten: () => void;
}

/** What a flush came to. */
interface Flush {
  /** Of the journal: it has what came up to the end of this interval. */
  readonly segment: number;
  /** Made while they are written: rows take several times what they come from. Empty: nothing came. */
  readonly parts: () => AsyncIterable<SpoolPart>;
  readonly isEmpty: boolean;
}

/** Ends the intervals: adds up, puts what it came to into the spool as one batch, and lets the journal go that far. */
export class Flushes {
  readonly #writer: RawMessageWriter | undefined;
  /** The disk did not take it yet. */
  #unwritten: Flush | undefined;
  #journal: Journal | undefined;
  #cancelTimer = (): void => {};
  #last: Promise<void> = Promise.resolve();
  #lastFlushMs: number;
  /** The last flush that reached the disk, on the monotonic clock. */
  lastWrittenMs: number;
  count = 0;

  constructor(private readonly options: FlushesOptions) {
    this.#writer = options.isForwarding ? new RawMessageWriter('gostatsd') : undefined;
    this.#lastFlushMs = this.lastWrittenMs = options.node.clock.monotonicMs();
  }

  start(journal: Journal): void {
    this.#journal = journal;
    this.#lastFlushMs = this.options.node.clock.monotonicMs();
    this.#schedule();
  }

  /** No flush comes by itself any more. */
  async stop(): Promise<void> {
    this.#cancelTimer();
    await this.#last;
    this.#cancelTimer();
  }

  /**
   * Never rejects: what the disk did not take is tried again with the next one, and the interval goes on until then.
   *
   * @param isLast this node leaves
   */
  flush(isLast = false): Promise<void> {
    return (this.#last = this.#last.then(() => this.#flush(isLast)));
  }

  #schedule(): void {
    const { clock, config } = this.options.node;
    this.#cancelTimer = clock.after(config.ingest.flushIntervalMs, () => void this.flush().finally(() => this.#schedule()));
  }

  async #flush(isLast: boolean): Promise<void> {
    const journal = this.#journal;
    if (journal === undefined) return;
    await this.options.beforeFlush();
    try {
      // While one waits the next interval goes on: so no more than two are in memory, and the journal lets go of nothing that is not in the spool.
      if (this.#unwritten !== undefined) await this.#write(this.#unwritten, journal);
      const { segment, closed } = await journal.endSegment(() => ({ made: this.#closeInterval(isLast) }));
      this.#unwritten = { segment, ...(await closed.made) };
      await this.#write(this.#unwritten, journal);
      this.lastWrittenMs = this.options.node.clock.monotonicMs();
    } catch (error) {
      this.options.node.log.error({ err: error }, 'a flush cannot be written to the spool; the next one tries again');
    }
    this.options.onWritten();
  }

  async #write({ segment, parts, isEmpty }: Flush, journal: Journal): Promise<void> {
    const kept = async (): Promise<void> => {
      this.#unwritten = undefined;
      await journal.release(segment);
    };
    if (isEmpty) await kept();
    else await this.options.spool.add(parts(), segment, kept);
  }

  /** The interval ends with the call; what it came to is known later. */
  async #closeInterval(isLast: boolean): Promise<Omit<Flush, 'segment'>> {
    const { node, store, ownership, takeEvents } = this.options;
    const { clock, config } = node;
    const nowMs = clock.monotonicMs();
    // Two flushes in one millisecond are a shutdown's: no rate is meant then.
    const intervalS = Math.max(nowMs - this.#lastFlushMs, 1) / 1000;
    this.#lastFlushMs = nowMs;
    this.count += 1;
    const events = takeEvents();
    const timestampMs = clock.nowMs();
    ownership.refresh();
    const handOver = new HandOver(ownership, isLast);
    const beforeClose = (series: Series): void => this.#writer?.add(series);
    const closing = store.beginFlush({ intervalS, percents: config.ingest.percents, beforeClose, isOfAnother: handOver.isOfAnother, handOver: handOver.add, handsOverOverflow: true });
    const flushed = await closing.run();
    handOver.end();
    const messages = this.#writer?.take() ?? [];
    const hasRows = config.ingest.tables && flushed.length + events.length > 0;
    const isForwarded = this.#writer !== undefined && messages.length + events.length > 0;
    return {
      isEmpty: !hasRows && !isForwarded && handOver.isEmpty,
      async *parts() {
        if (hasRows) yield* rowsOf(flushed, events, timestampMs);
        if (isForwarded) yield* forwardedParts(messages, events);
        yield* handOver.parts();
      },
    };
  }
}
