import type { Clock } from '@binnacle/cluster-state/clock';
import type { IngestConfig } from '@binnacle/node-kit/ingest-config';
import { RawMessageWriter } from '../forwarding/raw-message-writer.js';
import { LineIntake, type LineSource } from '../lines/line-intake.js';
import type { BadLine } from '../lines/metric-line.js';
import { HeldEvents } from '../messages/held-events.js';
import { shownBytesMax, spellingsPerSeries } from '../lines/line-limits.js';
import { Filters } from '../series/filters.js';
import { SeriesStore, type StoreLosses } from '../series/series-store.js';
import type { BadLineCount, HandOver } from './hand-over.js';

/** A series that is not heard for this long is forgotten here, where nothing of it is left by then. */
const expiryMsMax = 60_000;

/** What lines of one receiver thread come to, between one hand-over and the next. It owns nothing. */
export class ReceiverIntake {
  readonly lines: LineIntake;
  readonly #store: SeriesStore;
  readonly #writer = new RawMessageWriter('binnacle');
  readonly #badLines = new Map<BadLine, { count: number; readonly line: Uint8Array }>();
  readonly #events = new HeldEvents();
  #eventsDropped = 0;
  #before = { lines: 0, overflowed: 0, timerValues: 0, setMembers: 0 };

  constructor(config: IngestConfig, clock: Clock) {
    this.#store = new SeriesStore({ ...config, expiryMs: Math.min(config.expiryMs, expiryMsMax) }, clock);
    this.lines = new LineIntake({
      store: this.#store,
      filters: new Filters(config.filters),
      clock,
      lineSource: config.lineSource as LineSource,
      knownLinesMax: config.seriesMax * spellingsPerSeries,
      onEvent: (event) => {
        if (!this.#events.offer(event)) this.#eventsDropped += 1;
      },
      onBadLine: (reason, line) => this.takeBadLine(reason, line),
    });
  }

  /** Values and members have half the room they may have, or events. */
  isHalfFull(): boolean {
    return this.#store.fullness() >= 0.5 || this.#events.fullness() >= 0.5;
  }

  /** The line is only valid during the call. */
  takeBadLine(reason: BadLine, line: Buffer): void {
    const known = this.#badLines.get(reason);
    if (known === undefined) this.#badLines.set(reason, { count: 1, line: Uint8Array.from(line.subarray(0, shownBytesMax)) });
    else known.count += 1;
  }

  /** Everything that came since the last time; what comes meanwhile is of the next time. */
  async take(): Promise<Omit<HandOver, 'answers' | 'counts'> & { counts: Omit<HandOver['counts'], 'packets' | 'refused'> }> {
    const everything = { intervalS: 1, percents: [], isOfAnother: () => true, handsOverOverflow: true };
    const closing = this.#store.beginFlush({ ...everything, handOver: (series) => this.#writer.add(series) });
    const events = this.#events.take();
    const badLines: BadLineCount[] = [...this.#badLines].map(([reason, { count, line }]) => ({ reason, count, line }));
    this.#badLines.clear();
    const counts = this.#counts();
    await closing.run();
    // Of their own, so that their memory can be given away.
    const messages = this.#writer.take().map((message) => new Uint8Array(message));
    return { messages, events, badLines, counts };
  }

  #counts(): StoreLosses & { lines: number; eventsDropped: number } {
    const now = { lines: this.lines.taken, ...this.#store.losses };
    const before = this.#before;
    this.#before = now;
    const eventsDropped = this.#eventsDropped;
    this.#eventsDropped = 0;
    return {
      lines: now.lines - before.lines,
      overflowed: now.overflowed - before.overflowed,
      timerValues: now.timerValues - before.timerValues,
      setMembers: now.setMembers - before.setMembers,
      eventsDropped,
    };
  }
}
