import { NodeContext } from '@binnacle/node-kit/node-context';
import { SomeAtATime } from '@binnacle/node-kit/some-at-a-time';
import { BinnacleError } from '@binnacle/contracts/errors';
import { Injectable } from '@nestjs/common';
import { resolve } from 'node:path';
import { Flushes } from './flushes.js';
import { Forwarder, forwardLane } from './forwarding/forwarder.js';
import { Idempotency } from './idempotency.js';
import { BadLines } from './lines/bad-lines.js';
import { LineIntake, type LineSource } from './lines/line-intake.js';
import { spellingsPerSeries } from './lines/line-limits.js';
import { MessageTooLong } from './messages/bad-message.js';
import { decodedBody } from './messages/body-encoding.js';
import { readEventMessage } from './messages/event-message.js';
import { readFirstRawMessage } from './messages/first-raw-message.js';
import { HeldEvents } from './messages/held-events.js';
import { MessageIntake } from './messages/message-intake.js';
import type { MetricEvent } from './messages/metric-event.js';
import { checkRawMessage, readRawMessage } from './messages/raw-message.js';
import { Ownership } from './ownership/ownership.js';
import { Pauses } from './ownership/pauses.js';
import { Peers } from './ownership/peers.js';
import { Filters } from './series/filters.js';
import type { Series } from './series/series.js';
import { SeriesStore } from './series/series-store.js';
import { Journal } from './spool/journal.js';
import type { JournalRecord } from './spool/journal-record.js';
import { Spool } from './spool/spool.js';
import { TableSender } from './tables/table-sender.js';

/** Bodies on their way to the disk: four of the longest. */
const journalPendingBytesMax = 64 * 2 ** 20;
const journalSegmentBytesMax = 64 * 2 ** 20;

/**
 * Messages are inflated, and held so until they are on the disk: many short ones at a time, few long ones. Formula for the memory: 128 x 1 MiB + 2 x
 * `ingest.inflated-megabytes-max`.
 */
const shortBytesMax = 2 ** 20;
const shortAtOnceMax = 64;
const longAtOnceMax = 2;
/** Inflated, as much as it may be as sent. */
const eventBytesMax = 2 ** 20;
/** Of the room for events: what two intervals, of which the first one waits for the spool, took in, with those that were being worked on when they became full. */
const replayedFullnessMax = 10;

/** A node that the registry has let go, its lease having run out, may be back within this time: a restart. */
const returnMs = 3_000;
/** At the end, for what waits in the spool. */
const lastSendMsMax = 3_000;

/** What comes in, by whatever way, and what becomes of it at each flush. */
@Injectable()
export class Ingest {
  readonly store: SeriesStore;
  readonly badLines: BadLines;
  readonly lines: LineIntake;
  readonly messages: MessageIntake;
  /** What has been through the filters already. */
  readonly handed: MessageIntake;
  readonly idempotency: Idempotency;
  /** Of what other nodes hand over: clients cannot push these keys out. */
  readonly #handedKeys: Idempotency;
  readonly spool: Spool;
  readonly sender: TableSender;
  /** Where it is told to send on. */
  readonly forwarder: Forwarder | undefined;
  readonly ownership: Ownership;
  readonly peers: Peers;
  readonly pauses: Pauses;
  readonly flushes: Flushes;
  /** Awaited before each interval ends: receivers hand over what they have. Never rejects. */
  beforeFlush: () => Promise<void> = async () => {};
  readonly #folder: string;
  readonly #shortTurns = new SomeAtATime(shortAtOnceMax);
  /** What other nodes hand over does not wait behind clients. */
  readonly #handedTurns = new SomeAtATime(shortAtOnceMax);
  readonly #longTurns = new SomeAtATime(longAtOnceMax);
  #journal: Journal | undefined;
  readonly #events = new HeldEvents();
  eventsDropped = 0;

  constructor(private readonly node: NodeContext) {
    const { clock, log, config, directory, clusterSecret } = node;
    const { ingest } = config;
    // Nodes of one machine may share a data folder, and a journal has one writer.
    this.#folder = resolve(config.dataDir, 'ingest', `node-${node.id}`);
    const filters = new Filters(ingest.filters);
    this.store = new SeriesStore(ingest, clock);
    this.badLines = new BadLines(clock, log);
    this.messages = new MessageIntake(this.store, filters);
    this.handed = new MessageIntake(this.store, undefined);
    this.idempotency = new Idempotency(clock);
    this.#handedKeys = new Idempotency(clock);
    this.lines = new LineIntake({
      store: this.store,
      filters,
      clock,
      lineSource: ingest.lineSource as LineSource,
      knownLinesMax: ingest.seriesMax * spellingsPerSeries,
      onEvent: (event) => this.takeLineEvent(event),
      onBadLine: (reason, line) => this.badLines.take(reason, line),
    });
    this.spool = new Spool(resolve(this.#folder, 'spool'), ingest.spoolMegabytesMax * 2 ** 20);
    this.sender = new TableSender({ spool: this.spool, directory, clusterSecret, clock, log });
    const { forwardUrl: url, forwardApiKey: apiKey } = ingest;
    this.forwarder = url === '' ? undefined : new Forwarder({ spool: this.spool, url, apiKey, clock, log });
    this.ownership = new Ownership(node.id, () => directory.byRole('ingest'));
    this.pauses = new Pauses(clock, config.node.heartbeatTtlMs);
    const graceMs = config.node.heartbeatTtlMs + returnMs;
    this.peers = new Peers({ spool: this.spool, directory, state: node.state, clusterSecret, clock, log, graceMs, takeBack: (record) => this.take(record) });
    this.flushes = new Flushes({
      node,
      store: this.store,
      spool: this.spool,
      ownership: this.ownership,
      isForwarding: this.forwarder !== undefined,
      takeEvents: () => this.#events.take(),
      beforeFlush: () => this.beforeFlush(),
      onWritten: () => this.#wakeSenders(),
    });
    node.addPart({ name: 'ingest', start: () => this.#start(), drain: () => this.#drain(), stop: () => this.#stop(), health: () => this.#health(), dependencies: () => this.#dependencies() });
  }

  /** Resolves when the message counts and outlives this process. Rejects with `BadMessage`, or why it cannot be kept. */
  take(record: JournalRecord): Promise<void> {
    return this.#keysOf(record).once(record.idempotencyKey, async () => {
      try {
        await (record.kind === 'handed' ? this.#handedTurns : this.#shortTurns).run(() => this.#keep(record, shortBytesMax));
      } catch (error) {
        if (!(error instanceof MessageTooLong) || record.kind === 'event') throw error;
        await this.#longTurns.run(() => this.#keep(record, this.#inflatedBytesMax()));
      }
    });
  }

  #keysOf({ kind }: JournalRecord): Idempotency {
    return kind === 'handed' ? this.#handedKeys : this.idempotency;
  }

  async #keep(record: JournalRecord, inflatedBytesMax: number): Promise<void> {
    const journal = this.#journal;
    if (journal === undefined) throw new BinnacleError('NOT_READY', 'this node is not ready yet', { retryAfterS: 1 });
    const count = await this.#counter(record, inflatedBytesMax, 1);
    await journal.append(record, count);
  }

  #inflatedBytesMax(): number {
    return this.node.config.ingest.inflatedMegabytesMax * 2 ** 20;
  }

  async #start(): Promise<void> {
    const { ingest } = this.node.config;
    const limits = { pendingBytesMax: journalPendingBytesMax, segmentBytesMax: journalSegmentBytesMax, bytesMax: ingest.journalMegabytesMax * 2 ** 20 };
    this.#journal = await Journal.open(resolve(this.#folder, 'journal'), limits, this.spool.coveredSegment(), (record) => this.#replay(record));
    this.flushes.start(this.#journal);
    this.pauses.start();
    this.#wakeSenders();
  }

  #wakeSenders(): void {
    this.sender.drain.wake();
    this.forwarder?.drain.wake();
    this.peers.wake();
  }

  async #replay(record: JournalRecord): Promise<void> {
    try {
      const count = await this.#counter(record, this.#inflatedBytesMax(), replayedFullnessMax);
      await this.#keysOf(record).once(record.idempotencyKey, async () => count());
    } catch (error) {
      // It was taken in once, so it can be read; should a later version think otherwise, the rest must not be lost for it.
      this.node.log.error({ err: error }, 'a message of the journal cannot be read any more');
    }
  }

  /** Everything that can go wrong with a message goes wrong here; what it returns only counts. */
  async #counter({ kind, encoding, body }: JournalRecord, inflatedBytesMax: number, eventFullnessMax: number): Promise<() => void> {
    const message = await decodedBody(body, encoding, kind === 'event' ? eventBytesMax : inflatedBytesMax);
    if (kind !== 'event') {
      const read = kind === 'first-raw' ? readFirstRawMessage : readRawMessage;
      checkRawMessage(message, read);
      const intake = kind === 'handed' ? this.handed : this.messages;
      return () => intake.take(message, read);
    }
    const event = readEventMessage(message, Math.floor(this.node.clock.nowMs() / 1000));
    if (this.#events.fullness() >= eventFullnessMax) throw new BinnacleError('OVERLOADED', 'too many events since the last flush', { retryAfterS: 10 });
    return () => this.#events.add(event);
  }

  /** Dropped when there are too many. */
  takeLineEvent(event: MetricEvent): void {
    if (!this.#events.offer(event)) this.eventsDropped += 1;
  }

  /** What this node adds up and shows. A series that came since the last flush may be another node's. */
  *ownSeries(): Generator<Series> {
    for (const series of this.store.all()) if (this.ownership.isOwn(series)) yield series;
  }

  /** Ends the interval, and resolves when what it came to is on the disk, or cannot be kept. Never rejects. */
  flush(): Promise<void> {
    return this.flushes.flush();
  }

  /** A storage node may be this very process, which waits for the requests it has: new ones would keep it from ending. */
  async #drain(): Promise<void> {
    await this.flushes.stop();
    await this.sender.drain.stop();
  }

  /**
   * After the last request: what came since the last flush goes to the spool, so that the next process need not replay it, and from there as far as it
   * gets within a moment.
   */
  async #stop(): Promise<void> {
    this.pauses.stop();
    await this.flushes.flush(true);
    let cancel = (): void => {};
    const deadline = new Promise<void>((resolve) => (cancel = this.node.clock.after(lastSendMsMax, resolve)));
    await Promise.race([deadline, Promise.all([this.sender.drain.attempt(), this.forwarder?.drain.attempt(), this.peers.attempt()])]);
    cancel();
    await Promise.all([this.sender.stop(), this.forwarder?.stop(), this.peers.stop()]);
    await this.#journal?.close();
    this.#journal = undefined;
  }

  async #health(): Promise<string> {
    const sinceMs = Math.round(this.node.clock.monotonicMs() - this.flushes.lastWrittenMs);
    const limitMs = this.node.config.ingest.flushIntervalMs * 3 + 5_000;
    const detail = `last flush ${sinceMs} ms ago, ${this.store.seriesCount} series, ${this.badLines.total()} bad lines, ${this.store.losses.overflowed} beyond the limit of series`;
    if (sinceMs > limitMs) throw new Error(`${detail}: no flush within ${limitMs} ms reached the disk`);
    return detail;
  }

  async #dependencies(): Promise<string> {
    const { spool, sender, forwarder } = this;
    const lost = [...spool.lostBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
    const forwarded = forwarder === undefined ? '' : `; ${spool.bytes(forwardLane)} bytes of it are to be sent on`;
    const detail = `${spool.batchCount()} flushes of ${spool.bytes()} bytes wait in the spool, ${lost} bytes lost, ${sender.rowsRefused} rows refused${forwarded}`;
    const failures = [sender.drain.failure && `tables: ${sender.drain.failure}`, forwarder?.drain.failure && `forwarding: ${forwarder.drain.failure}`, ...this.peers.failures()].filter(Boolean);
    if (failures.length > 0) throw new Error(`${failures.join('; ')}; ${detail}`);
    return detail;
  }
}
