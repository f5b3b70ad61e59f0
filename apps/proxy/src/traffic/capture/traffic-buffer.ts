import type { CommandResult } from '../command-result.js';
import { RecordEncoder } from '../files/record-encoder.js';
import type { TrafficRecord } from '../files/record.js';
import { encodeFigures, resultBytesMax } from '../files/results-file.js';
import type { RowChecksum } from './row-checksum.js';

/** Takes whole records and whole results; `TrafficWriter` is one. Never waits: false, when it takes no more. */
export interface TrafficSink {
  writeRecords(chunk: Buffer, records: number): boolean;
  writeResults(chunk: Buffer, results: number): boolean;
}

const recordsChunkBytes = 262_144;
const resultsChunkBytes = 65_536;
/** Up to here a loop is faster than a call that leaves JavaScript. */
const loopBytesMax = 48;
/** Of commands that come in pieces, and of those that wait for the answer of a COM_STMT_PREPARE: of all sessions together. Half of what may wait for the disk; a longer command is left out. */
export const heldBytesMax = 33_554_432;

/** A record but for its payload. One object is used for all of them: nobody keeps it. */
export type RecordHead = { -readonly [Key in keyof Omit<TrafficRecord, 'payload'>]: TrafficRecord[Key] };

/** What came of a command, but for its checksums. */
export type ResultFigures = Omit<CommandResult, 'ordered' | 'unordered'>;

/** What the sessions of a worker leave behind, in chunks of whole records. Nobody waits here: when the sink is full, `refused` is called once and everything after is dropped. */
export class TrafficBuffer {
  commands = 0;
  results = 0;
  /** Handed to the sink. */
  bytes = 0;
  #heldBytes = 0;
  #stopped = false;
  readonly #encoder = new RecordEncoder();
  #records: Buffer | undefined;
  #recordsEnd = 0;
  #recordsCount = 0;
  #results: Buffer | undefined;
  #resultsEnd = 0;
  #resultsCount = 0;

  constructor(
    private readonly sink: TrafficSink,
    private readonly refused: () => void,
  ) {}

  /** In memory, and not with the sink. */
  get bufferedBytes(): number {
    return this.#recordsEnd + this.#resultsEnd + this.#heldBytes;
  }

  /** Room for bytes that wait in a session; false: there is none. */
  hold(bytes: number): boolean {
    if (this.#heldBytes + bytes > heldBytesMax) return false;
    this.#heldBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#heldBytes -= bytes;
  }

  record(head: RecordHead, payload: Buffer, start: number, end: number): void {
    const target = this.#room(head, end - start);
    if (target === undefined) return;
    let at = this.#encoder.header(target, this.#recordsEnd, head, end - start);
    if (end - start > loopBytesMax) at += payload.copy(target, at, start, end);
    else for (let from = start; from < end; from++) target[at++] = payload[from]!;
    this.#recorded(target, at);
  }

  /** @param from bytes of the first piece that do not belong to the payload */
  recordOfPieces(head: RecordHead, pieces: readonly Buffer[], from: number): void {
    let bytes = -from;
    for (const piece of pieces) bytes += piece.length;
    const target = this.#room(head, bytes);
    if (target === undefined) return;
    let at = this.#encoder.header(target, this.#recordsEnd, head, bytes);
    for (const [index, piece] of pieces.entries()) at += piece.copy(target, at, index === 0 ? from : 0);
    this.#recorded(target, at);
  }

  #room(head: RecordHead, payloadBytes: number): Buffer | undefined {
    if (this.#stopped) return undefined;
    const needed = this.#encoder.headerBytesMax(head) + payloadBytes + 1;
    if (this.#records === undefined || this.#recordsEnd + needed > this.#records.length) {
      this.#flushRecords();
      this.#records = Buffer.allocUnsafeSlow(Math.max(recordsChunkBytes, needed));
    }
    return this.#records;
  }

  #recorded(target: Buffer, at: number): void {
    target[at] = 0x0a;
    this.#recordsEnd = at + 1;
    this.#recordsCount++;
    this.commands++;
    // A large one is not kept until the next comes.
    if (this.#recordsEnd > recordsChunkBytes) this.#flushRecords();
  }

  result(endTimeUs: number, result: ResultFigures, rows: RowChecksum): void {
    if (this.#stopped) return;
    if (this.#results === undefined || this.#resultsEnd + resultBytesMax > this.#results.length) {
      this.#flushResults();
      this.#results = Buffer.allocUnsafeSlow(resultsChunkBytes);
    }
    const at = rows.write(this.#results, encodeFigures(this.#results, this.#resultsEnd, endTimeUs, result));
    this.#results[at] = 0x0a;
    this.#resultsEnd = at + 1;
    this.#resultsCount++;
    this.results++;
  }

  /** Hands over what is there. */
  flush(): void {
    this.#flushRecords();
    this.#flushResults();
  }

  #flushRecords(): void {
    const [chunk, end, count] = [this.#records, this.#recordsEnd, this.#recordsCount];
    this.#records = undefined;
    this.#recordsEnd = 0;
    this.#recordsCount = 0;
    if (count > 0) this.#handOver(end, this.sink.writeRecords(chunk!.subarray(0, end), count));
  }

  #flushResults(): void {
    const [chunk, end, count] = [this.#results, this.#resultsEnd, this.#resultsCount];
    this.#results = undefined;
    this.#resultsEnd = 0;
    this.#resultsCount = 0;
    if (count > 0) this.#handOver(end, this.sink.writeResults(chunk!.subarray(0, end), count));
  }

  #handOver(bytes: number, taken: boolean): void {
    if (taken) this.bytes += bytes;
    else if (!this.#stopped) {
      this.#stopped = true;
      this.refused();
    }
  }
}
