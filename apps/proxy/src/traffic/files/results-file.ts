import type { CommandResult } from '../command-result.js';
import { appendNumber } from './record-encoder.js';
import { TrafficFileError } from './record-decoder.js';

/** What came of a command, as the reader hands it out. */
export interface TimedResult extends CommandResult {
  /** Which of the merged folders it is from, as in `ReadRecord`. */
  readonly source: number;
  /** When the response ended, in microseconds since 1970. Results are written in about this order. */
  readonly endTimeUs: number;
}

/** The first line of every file of results: by it the key is proven, and later formats are told. */
export const resultsHeader = Buffer.from('# Binnacle results 1: end-us connection ordinal latency-us error rows affected ordered unordered\n');
/** Six numbers of at most 16 digits, the error, two checksums, and what is between them. */
export const resultBytesMax = 6 * 16 + 10 + 2 * 16 + 9;
const lineBytesMax = 4_096;
const space = 0x20;
const newline = 0x0a;
const zeros = '0000000000000000';
const linePattern = /^(\d{1,16}) (\d{1,16}) (\d{1,16}) (\d{1,16}) (\d{1,10}) (\d{1,16}) (\d{1,16}) (-|[0-9a-f]{16}) (-|=|[0-9a-f]{16})$/;

/** Returns the offset behind the line; -1 when the rest of the target may be too short, which is then as it was. */
export function encodeResult(target: Buffer, at: number, endTimeUs: number, result: CommandResult): number {
  if (at + resultBytesMax > target.length) return -1;
  at = encodeFigures(target, at, endTimeUs, result);
  at = appendChecksum(target, at, result.ordered);
  target[at++] = space;
  if (result.unordered === result.ordered && result.ordered !== zeros) target[at++] = 0x3d;
  else at = appendChecksum(target, at, result.unordered);
  target[at++] = newline;
  return at;
}

/** A result but for its checksums, which follow, each 16 digits, `-` for zeros or `=` for the one before, with a space between them and a newline behind. There has to be room for `resultBytesMax`. */
export function encodeFigures(target: Buffer, at: number, endTimeUs: number, result: Omit<CommandResult, 'ordered' | 'unordered'>): number {
  at = appendField(target, at, endTimeUs);
  at = appendField(target, at, result.connectionId);
  at = appendField(target, at, result.ordinal);
  at = appendField(target, at, result.latencyUs);
  at = appendField(target, at, result.errorCode);
  at = appendField(target, at, result.rows);
  // MySQL's is of 64 bits, and -1 means none.
  return appendField(target, at, Math.min(result.affectedRows, Number.MAX_SAFE_INTEGER));
}

function appendField(target: Buffer, at: number, value: number): number {
  at = appendNumber(target, at, value);
  target[at] = space;
  return at + 1;
}

function appendChecksum(target: Buffer, at: number, text: string): number {
  if (text === zeros) {
    target[at] = 0x2d;
    return at + 1;
  }
  return at + target.write(text, at, 16, 'latin1');
}

/** Reads lines from pieces of one file, as `RecordDecoder` reads records. */
export class ResultDecoder {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #searched = 0;
  #offset = 0;
  #isBegun = false;

  constructor(
    private readonly file: string,
    private readonly source: number,
  ) {}

  write(chunk: Buffer): void {
    this.#offset += this.#at;
    this.#searched -= this.#at;
    this.#bytes = this.#at === this.#bytes.length ? chunk : Buffer.concat([this.#bytes.subarray(this.#at), chunk]);
    this.#at = 0;
  }

  /** Undefined: no whole line is left. Throws `TrafficFileError`. */
  next(): TimedResult | undefined {
    for (;;) {
      const end = this.#bytes.indexOf(newline, this.#searched);
      if ((end < 0 ? this.#bytes.length : end) - this.#at > lineBytesMax) throw this.#error(`a line of more than ${lineBytesMax} bytes`);
      if (end < 0) {
        this.#searched = this.#bytes.length;
        return undefined;
      }
      const line = this.#bytes.toString('latin1', this.#at, end);
      const result = this.#isBegun ? this.#result(line) : undefined;
      if (!this.#isBegun && !line.startsWith('# Binnacle results 1:')) throw this.#error('not a file of results, or of a later format');
      this.#isBegun = true;
      this.#at = this.#searched = end + 1;
      if (result !== undefined) return result;
    }
  }

  /** How many bytes of a line there are that was cut off. */
  end(): number {
    return this.#bytes.length - this.#at;
  }

  /** Undefined: a remark. */
  #result(line: string): TimedResult | undefined {
    if (line.startsWith('#')) return undefined;
    const fields = linePattern.exec(line);
    if (fields === null) throw this.#error(`not a result: ${JSON.stringify(line.slice(0, 80))}`);
    const [, endTimeUs, connectionId, ordinal, latencyUs, errorCode, rows, affectedRows, ordered = '', unordered = ''] = fields;
    return {
      source: this.source,
      endTimeUs: Number(endTimeUs),
      connectionId: Number(connectionId),
      ordinal: Number(ordinal),
      latencyUs: Number(latencyUs),
      errorCode: Number(errorCode),
      rows: Number(rows),
      affectedRows: Number(affectedRows),
      ordered: ordered === '-' ? zeros : ordered,
      unordered: unordered === '-' ? zeros : unordered === '=' ? ordered : unordered,
    };
  }

  #error(reason: string): TrafficFileError {
    return new TrafficFileError(this.file, this.#offset + this.#at, reason);
  }
}
