import { NodeContext } from '@binnacle/node-kit/node-context';
import { BinnacleError } from '@binnacle/contracts/errors';
import { Injectable } from '@nestjs/common';
import { resolve } from 'node:path';
import { Forwarder, forwardedParts } from './forwarding/forwarder.js';
import { RawMessageWriter } from './forwarding/raw-message-writer.js';
import { Idempotency } from './idempotency.js';
import { BadLines } from './lines/bad-lines.js';
import { LineIntake, type LineSource } from './lines/line-intake.js';
import { MessageTooLong } from './messages/bad-message.js';
import { decodedBody } from './messages/body-encoding.js';
import { readEventMessage } from './messages/event-message.js';
import { readFirstRawMessage } from './messages/first-raw-message.js';
import { MessageIntake } from './messages/message-intake.js';
import type { MetricEvent } from './messages/metric-event.js';
import { checkRawMessage, readRawMessage } from './messages/raw-message.js';
import { Filters } from './series/filters.js';
import { SeriesStore } from './series/series-store.js';
import { Journal } from './spool/journal.js';
import type { JournalRecord } from './spool/journal-record.js';
import { Spool, type SpoolPart } from './spool/spool.js';
import { rowsOf } from './tables/rows.js';
import { TableSender } from './tables/table-sender.js';
import { Turns } from './turns.js';

/** Events until the next flush, a few kB each at the most; further ones are refused over HTTP, and dropped where they come as lines. */
const eventsMax = 10_000;
/** Spellings of a series that clients may use before finding them costs more: order of tags, mostly. */
const spellingsPerSeries = 2;
/** Flushes whose rows wait in memory because the disk did not take them; the oldest go. */
const unwrittenMax = 3;
/** Bodies on their way to the disk: four of the longest. */
const journalPendingBytesMax = 64 * 2 ** 20;

/**
 * Messages are inflated, and held so until they are on the disk: many short ones at a time, few long ones. Formula for the memory: 64 x 1 MiB + 2 x
 * `ingest.inflated-megabytes-max`.
 */
const shortBytesMax = 2 ** 20;
const shortAtOnceMax = 64;
const longAtOnceMax = 2;

interface Unwritten {
  /** Rows for the tables, made while they are written: as text they take several times what they come from. Undefined: none. */
  readonly rows: (() => Iterable<SpoolPart>) | undefined;
  /** Messages to be sent on. */
  readonly messages: SpoolPart[];
}

/** What comes in, by whatever way, and what becomes of it at each flush. */
@Injectable()
export class Ingest {
  readonly store: SeriesStore;
  readonly badLines: BadLines;
  readonly lines: LineIntake;
  readonly messages: MessageIntake;
  readonly idempotency: Idempotency;
  readonly spool: Spool;
  readonly sender: TableSender;
  /** Where it is told to send on. */
  readonly forwarding: { readonly spool: Spool; readonly forwarder: Forwarder; readonly writer: RawMessageWriter } | undefined;
  readonly #folder: string;
  readonly #shortTurns = new Turns(shortAtOnceMax);
  readonly #longTurns = new Turns(longAtOnceMax);
  #journal: Journal | undefined;
  #events: MetricEvent[] = [];
  #unwritten: (Unwritten & { readonly segment: number })[] = [];
  #cancelTimer = (): void => {};
  #flushing: Promise<void> = Promise.resolve();
  #lastFlushMs: number;
  /** The last flush that reached the disk, on the monotonic clock. */
  #lastWrittenMs: number;
  flushes = 0;
  eventsDropped = 0;
  /** Flushes of which the disk took nothing. */
  flushesLost = 0;

  constructor(private readonly node: NodeContext) {
    const { clock, log, config, directory, clusterSecret } = node;
    const { ingest } = config;
    // Nodes of one machine may share a data folder, and a journal has one writer.
    this.#folder = resolve(config.dataDir, 'ingest', `node-${node.id}`);
    const filters = new Filters(ingest.filters);
    this.store = new SeriesStore(ingest, clock);
    this.badLines = new BadLines(clock, log);
    this.messages = new MessageIntake(this.store, filters, clock);
    this.idempotency = new Idempotency(clock);
    this.lines = new LineIntake({
      store: this.store,
      filters,
      clock,
      lineSource: ingest.lineSource as LineSource,
      knownLinesMax: ingest.seriesMax * spellingsPerSeries,
      onEvent: (event) => this.#takeLineEvent(event),
      onBadLine: (reason, line) => this.badLines.take(reason, line),
    });
    this.spool = new Spool(resolve(this.#folder, 'spool'), ingest.spoolMegabytesMax * 2 ** 20);
    this.sender = new TableSender({ spool: this.spool, directory, clusterSecret, clock, log });
    if (ingest.forwardUrl !== '') {
      const spool = new Spool(resolve(this.#folder, 'forward'), ingest.spoolMegabytesMax * 2 ** 20);
      const forwarder = new Forwarder({ spool, url: ingest.forwardUrl, apiKey: ingest.forwardApiKey, clock, log });
      this.forwarding = { spool, forwarder, writer: new RawMessageWriter('gostatsd') };
    }
    this.#lastFlushMs = this.#lastWrittenMs = clock.monotonicMs();
    node.addPart({ name: 'ingest', start: () => this.#start(), drain: () => this.#drain(), stop: () => this.#stop(), health: () => this.#health(), dependencies: () => this.#dependencies() });
  }

  /** Resolves when the message counts and outlives this process. Rejects with `BadMessage`, or why it cannot be kept. */
  take(record: JournalRecord): Promise<void> {
    return this.idempotency.once(record.idempotencyKey, async () => {
      try {
        await this.#shortTurns.run(() => this.#keep(record, shortBytesMax));
      } catch (error) {
        if (!(error instanceof MessageTooLong)) throw error;
        await this.#longTurns.run(() => this.#keep(record, this.#inflatedBytesMax()));
      }
    });
  }

  async #keep(record: JournalRecord, inflatedBytesMax: number): Promise<void> {
    const journal = this.#journal;
    if (journal === undefined) throw new BinnacleError('NOT_READY', 'this node is not ready yet', { retryAfterS: 1 });
    const count = await this.#counter(record, inflatedBytesMax);
    await journal.append(record, count);
  }

  #inflatedBytesMax(): number {
    return this.node.config.ingest.inflatedMegabytesMax * 2 ** 20;
  }

  async #start(): Promise<void> {
    const { ingest } = this.node.config;
    const limits = { pendingBytesMax: journalPendingBytesMax, bytesMax: ingest.journalMegabytesMax * 2 ** 20 };
    this.#journal = await Journal.open(resolve(this.#folder, 'journal'), limits, this.#coveredSegment(), (record) => this.#replay(record));
    this.#lastFlushMs = this.node.clock.monotonicMs();
    this.#schedule();
    this.#wakeSenders();
  }

  /** What either spool has is counted; where a process ended between the two, the other one has lost nothing: it comes first. */
  #coveredSegment(): number {
    return Math.max(this.spool.coveredSegment(), this.node.config.ingest.tables ? 0 : (this.forwarding?.spool.coveredSegment() ?? 0));
  }

  #wakeSenders(): void {
    this.sender.drain.wake();
    this.forwarding?.forwarder.drain.wake();
  }

  async #replay(record: JournalRecord): Promise<void> {
    try {
      const count = await this.#counter(record, this.#inflatedBytesMax());
      await this.idempotency.once(record.idempotencyKey, async () => count());
    } catch (error) {
      // It was taken in once, so it can be read; should a later version think otherwise, the rest must not be lost for it.
      this.node.log.error({ err: error }, 'a message of the journal cannot be read any more');
    }
  }

  /** Everything that can go wrong with a message goes wrong here; what it returns only counts. */
  async #counter({ kind, encoding, body }: JournalRecord, inflatedBytesMax: number): Promise<() => void> {
    const message = await decodedBody(body, encoding, inflatedBytesMax);
    if (kind !== 'event') {
      const read = kind === 'raw' ? readRawMessage : readFirstRawMessage;
      checkRawMessage(message, read);
      return () => this.messages.take(message, read);
    }
    const event = readEventMessage(message, Math.floor(this.node.clock.nowMs() / 1000));
    if (this.#events.length >= eventsMax) throw new BinnacleError('OVERLOADED', 'too many events since the last flush', { retryAfterS: 10 });
    return () => void this.#events.push(event);
  }

  #takeLineEvent(event: MetricEvent): void {
    if (this.#events.length < eventsMax) this.#events.push(event);
    else this.eventsDropped += 1;
  }

  #schedule(): void {
    this.#cancelTimer = this.node.clock.after(this.node.config.ingest.flushIntervalMs, () => {
      this.#flushing = this.flush().finally(() => this.#schedule());
    });
  }

  /** Ends the interval: adds up, writes the rows to the spool, and lets the journal go that far. Never rejects. */
  async flush(): Promise<void> {
    const journal = this.#journal;
    if (journal === undefined) return;
    try {
      const { segment, closed } = await journal.endSegment(() => this.#closeInterval());
      this.#unwritten.push({ segment, ...closed });
      while (this.#unwritten.length > unwrittenMax) {
        this.#unwritten.shift();
        this.flushesLost += 1;
      }
      for (let next = this.#unwritten[0]; next !== undefined; next = this.#unwritten[0]) {
        await this.#write(next, next.segment);
        journal.release(next.segment);
        this.#unwritten.shift();
      }
      this.#lastWrittenMs = this.node.clock.monotonicMs();
      this.#wakeSenders();
    } catch (error) {
      this.node.log.error({ err: error }, 'a flush cannot be written to the spool; the next one tries again');
    }
  }

  /** What is sent on goes first: should the process end between the two, it is sent again, as gostatsd would, and the tables count once. */
  async #write({ rows, messages }: Unwritten, segment: number): Promise<void> {
    if (messages.length > 0) {
      await this.forwarding?.spool.add(messages, segment);
      messages.length = 0;
    }
    if (rows !== undefined) await this.spool.add(rows(), segment);
  }

  #closeInterval(): Unwritten {
    const { clock, config } = this.node;
    const nowMs = clock.monotonicMs();
    // Two flushes in one millisecond are a shutdown's: no rate is meant then.
    const intervalS = Math.max(nowMs - this.#lastFlushMs, 1) / 1000;
    this.#lastFlushMs = nowMs;
    this.flushes += 1;
    const events = this.#events;
    this.#events = [];
    const writer = this.forwarding?.writer;
    const flushed = this.store.flush({ intervalS, percents: config.ingest.percents, beforeClose: (series) => writer?.add(series) });
    const timestampMs = clock.nowMs();
    const hasRows = config.ingest.tables && flushed.length + events.length > 0;
    return {
      rows: hasRows ? () => rowsOf(flushed, events, timestampMs) : undefined,
      messages: writer === undefined ? [] : [...forwardedParts(writer.take(), events)],
    };
  }

  async #drain(): Promise<void> {
    this.#cancelTimer();
    await this.#flushing;
    this.#cancelTimer();
  }

  /** After the last request: what came since the last flush goes to the spool, so that the next process need not replay it. */
  async #stop(): Promise<void> {
    await this.flush();
    await Promise.all([this.sender.stop(), this.forwarding?.forwarder.stop()]);
    await this.#journal?.close();
    this.#journal = undefined;
  }

  async #health(): Promise<string> {
    const sinceMs = Math.round(this.node.clock.monotonicMs() - this.#lastWrittenMs);
    const limitMs = this.node.config.ingest.flushIntervalMs * 3 + 5_000;
    const detail = `last flush ${sinceMs} ms ago, ${this.store.seriesCount} series, ${this.badLines.total()} bad lines, ${this.store.losses.overflowed} beyond the limit of series, ${this.flushesLost} flushes lost`;
    if (sinceMs > limitMs) throw new Error(`${detail}: no flush within ${limitMs} ms reached the disk`);
    return detail;
  }

  async #dependencies(): Promise<string> {
    const detail = `${this.spool.batchCount()} flushes of ${this.spool.bytes()} bytes wait in the spool, ${this.spool.lostBytes} bytes lost, ${this.sender.rowsRefused} rows refused`;
    const { spool, forwarder } = this.forwarding ?? {};
    const forwarded = spool === undefined ? '' : `; ${spool.bytes()} bytes wait to be sent on, ${spool.lostBytes} lost`;
    const failures = [this.sender.drain.failure && `tables: ${this.sender.drain.failure}`, forwarder?.drain.failure && `forwarding: ${forwarder.drain.failure}`].filter(Boolean);
    if (failures.length > 0) throw new Error(`${failures.join('; ')}; ${detail}${forwarded}`);
    return detail + forwarded;
  }
}
