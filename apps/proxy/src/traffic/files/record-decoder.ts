import { Command } from '@binnacle/mysql-wire/command';
import { unquoted } from './quoted-text.js';
import { commandOf, type ReadRecord } from './record.js';
import { TimeReader } from './record-time.js';

/** What a file is that no record can be read from, or not all. */
export class TrafficFileError extends Error {
  override readonly name = 'TrafficFileError';

  constructor(
    readonly file: string,
    /** Of the plain records, from 0: where the record begins. */
    readonly byte: number,
    reason: string,
    options?: ErrorOptions,
  ) {
    super(`${file}, byte ${byte}: ${reason}`, options);
  }
}

export interface RecordDecoderOptions {
  /** For errors. */
  readonly file: string;
  /** Of `ReadRecord`. Default: 0. */
  readonly source?: number;
  /** Default: 64 MiB, as MySQL's max_allowed_packet; it can be a gibibyte at most. */
  readonly payloadBytesMax?: number;
  /** Of the lines before the payload, where the text of a prepared statement may be. Default: 16 MiB. */
  readonly headerBytesMax?: number;
  /** If given, what cannot be read is left out up to the next line that begins a record, and said here. Else it is thrown. */
  readonly onDamage?: (error: TrafficFileError) => void;
}

const mebibyte = 2 ** 20;
const payloadBytesMaxDefault = 64 * mebibyte;
const headerBytesMaxDefault = 16 * mebibyte;
const newline = 0x0a;
const carriageReturn = 0x0d;
const recordStart = Buffer.from('\n# Time: ');
const nothing = Buffer.alloc(0);
const keys = [
  'Time', 'Conn_ID', 'Cmd_type', 'Success', 'Captured_ps_id', 'Prepared_stmt', 'Binnacle_user', 'Binnacle_database', 'Binnacle_collation', 'Binnacle_capabilities', 'Payload_len',
] as const;
type Key = (typeof keys)[number];
const keysByLength = new Map<number, readonly (readonly [Key, Buffer])[]>(
  keys.map(({ length }) => [length, keys.filter((key) => key.length === length).map((key) => [key, Buffer.from(key)] as const)]),
);
const yes = /^(1|t|T|true|TRUE|True)$/;
const no = /^(0|f|F|false|FALSE|False)$/;

interface Draft {
  timeUs: number;
  connectionId: number;
  command: number;
  isCommandSet: boolean;
  success: boolean;
  capturedStatementId: number;
  preparedText: Buffer | undefined;
  user: string | undefined;
  database: string | undefined;
  collation: number | undefined;
  capabilities: number | undefined;
}

/**
 * Reads records from pieces of one file: `write` a piece, then call `next` until it has none. At most one record and one piece are in memory.
 * Takes what all releases of TiProxy have written; lines with other keys are ignored, as there.
 */
export class RecordDecoder {
  readonly #times = new TimeReader();
  readonly #options: Required<Omit<RecordDecoderOptions, 'onDamage'>> & Pick<RecordDecoderOptions, 'onDamage'>;
  /** What is not read yet is from `#at` on. */
  #bytes: Buffer = nothing;
  #at = 0;
  /** Where the search for the end of a line goes on. */
  #searched = 0;
  /** Offset in the file of the first of `#bytes`. */
  #offset = 0;
  #recordOffset = 0;
  #draft = emptyDraft();
  /** When it is known: its own memory, if it is not all in one piece. */
  #payload: Buffer | undefined;
  #payloadFilled = 0;
  #isLost = false;

  constructor({ file, source = 0, payloadBytesMax = payloadBytesMaxDefault, headerBytesMax = headerBytesMaxDefault, onDamage }: RecordDecoderOptions) {
    this.#options = { file, source, payloadBytesMax, headerBytesMax, ...(onDamage ? { onDamage } : {}) };
  }

  /** Only when `next` has none. */
  write(chunk: Buffer): void {
    const rest = this.#bytes.length - this.#at;
    this.#offset += this.#at;
    this.#searched -= this.#at;
    this.#bytes = rest === 0 ? chunk : Buffer.concat([this.#bytes.subarray(this.#at), chunk]);
    this.#at = 0;
  }

  /** Undefined: no whole record is left. Throws `TrafficFileError`. */
  next(): ReadRecord | undefined {
    for (;;) {
      try {
        if (this.#isLost && !this.#findRecord()) return undefined;
        return this.#next();
      } catch (error) {
        if (!(error instanceof TrafficFileError) || !this.#options.onDamage) throw error;
        this.#options.onDamage(error);
        // The newline before the next record is behind the line that was read last.
        if (this.#bytes[this.#at - 1] === newline) this.#at--;
        this.#reset();
        this.#isLost = true;
      }
    }
  }

  /** At the end of the file: how many bytes of a record there are that was cut off. 0: it ends well. */
  end(): number {
    return this.#isLost ? 0 : this.#offset + this.#bytes.length - this.#recordOffset;
  }

  #next(): ReadRecord | undefined {
    while (this.#payload === undefined) {
      const end = this.#lineEnd();
      if (end < 0) return undefined;
      const from = this.#at;
      this.#at = this.#searched = end + 1;
      this.#line(from, end > from && this.#bytes[end - 1] === carriageReturn ? end - 1 : end);
    }
    if (!this.#fillPayload()) return undefined;
    return this.#take(this.#payload);
  }

  /** -1: not there yet. */
  #lineEnd(): number {
    const bytes = this.#bytes;
    let end = this.#searched;
    while (end < bytes.length && bytes[end] !== newline) end++;
    this.#searched = end;
    if (this.#offset + end - this.#recordOffset > this.#options.headerBytesMax) {
      throw this.#error(`the lines before the payload have more than ${this.#options.headerBytesMax} bytes`);
    }
    return end < bytes.length ? end : -1;
  }

  #line(from: number, to: number): void {
    const bytes = this.#bytes;
    let colon = from + 2;
    while (colon < to && !(bytes[colon] === 0x3a && bytes[colon + 1] === 0x20)) colon++;
    if (bytes[from] !== 0x23 || bytes[from + 1] !== 0x20 || colon + 1 >= to) {
      throw this.#error(`a line "# KEY: VALUE" was expected, found ${JSON.stringify(bytes.toString('latin1', from, Math.min(to, from + 40)))}`);
    }
    const value = colon + 2;
    if (value === to) throw this.#error(`${bytes.toString('latin1', from + 2, colon)} has no value`);
    const draft = this.#draft;
    switch (keyOf(bytes, from + 2, colon)) {
      case 'Time':
        if (!Number.isNaN(draft.timeUs)) throw this.#error('a second Time');
        draft.timeUs = this.#times.read(bytes, value, to);
        if (Number.isNaN(draft.timeUs)) throw this.#error(`not a time: ${this.#shown(value, to)}`);
        return;
      case 'Conn_ID':
        if (draft.connectionId !== 0) throw this.#error('a second Conn_ID');
        draft.connectionId = this.#number('Conn_ID', value, to);
        return;
      case 'Cmd_type':
        this.#command(value, to);
        return;
      case 'Success': {
        const text = bytes.toString('latin1', value, to);
        if (!yes.test(text) && !no.test(text)) throw this.#error(`Success is neither true nor false: ${this.#shown(value, to)}`);
        draft.success = yes.test(text);
        return;
      }
      case 'Captured_ps_id':
        draft.capturedStatementId = this.#number('Captured_ps_id', value, to);
        if (draft.capturedStatementId > 0xffff_ffff) throw this.#error(`Captured_ps_id is too large: ${draft.capturedStatementId}`);
        return;
      case 'Prepared_stmt':
        draft.preparedText = this.#text('Prepared_stmt', value, to);
        return;
      case 'Binnacle_user':
        draft.user = this.#text('Binnacle_user', value, to).toString();
        return;
      case 'Binnacle_database':
        draft.database = this.#text('Binnacle_database', value, to).toString();
        return;
      case 'Binnacle_collation':
        draft.collation = this.#number('Binnacle_collation', value, to);
        return;
      case 'Binnacle_capabilities':
        draft.capabilities = this.#number('Binnacle_capabilities', value, to);
        return;
      case 'Payload_len':
        this.#beginPayload(this.#number('Payload_len', value, to));
    }
  }

  #command(value: number, to: number): void {
    if (this.#draft.isCommandSet) throw this.#error('a second Cmd_type');
    const command = commandOf(this.#bytes.toString('latin1', value, to));
    if (command === undefined) throw this.#error(`not a command: ${this.#shown(value, to)}`);
    this.#draft.command = command;
    this.#draft.isCommandSet = true;
  }

  #beginPayload(bytes: number): void {
    const { payloadBytesMax } = this.#options;
    if (Number.isNaN(this.#draft.timeUs)) throw this.#error('no Time');
    if (this.#draft.connectionId === 0) throw this.#error('no Conn_ID');
    if (bytes > payloadBytesMax) throw this.#error(`a payload of ${bytes} bytes; at most ${payloadBytesMax} are read`);
    const isWhole = this.#bytes.length - this.#at >= bytes;
    this.#payload = isWhole ? this.#bytes.subarray(this.#at, this.#at + bytes) : Buffer.allocUnsafe(bytes);
    this.#payloadFilled = isWhole ? bytes : 0;
    if (isWhole) this.#at += bytes;
  }

  /** With the end of the line behind it. False: not there yet. */
  #fillPayload(): boolean {
    const payload = this.#payload as Buffer;
    const missing = payload.length - this.#payloadFilled;
    if (missing > 0) {
      const copied = this.#bytes.copy(payload, this.#payloadFilled, this.#at, this.#at + missing);
      this.#payloadFilled += copied;
      this.#at += copied;
      if (copied < missing) return false;
    }
    const hasReturn = this.#bytes[this.#at] === carriageReturn;
    const end = hasReturn ? this.#at + 1 : this.#at;
    if (end >= this.#bytes.length) return false;
    if (this.#bytes[end] !== newline) throw this.#error(`no end of line behind the ${payload.length} bytes of the payload`);
    this.#at = end + 1;
    return true;
  }

  #take(payload: Buffer): ReadRecord {
    const { timeUs, connectionId, command, success, capturedStatementId, preparedText, user, database, collation, capabilities } = this.#draft;
    const record: { -readonly [Key in keyof ReadRecord]: ReadRecord[Key] } = { source: this.#options.source, timeUs, connectionId, command, payload };
    if (capturedStatementId !== 0) record.capturedStatementId = capturedStatementId;
    if (preparedText !== undefined) record.preparedText = preparedText;
    if (!success) record.success = false;
    if (user !== undefined) record.user = user;
    if (database !== undefined) record.database = database;
    if (collation !== undefined) record.collation = collation;
    if (capabilities !== undefined) record.capabilities = capabilities;
    this.#reset();
    return record;
  }

  #reset(): void {
    this.#draft = emptyDraft();
    this.#payload = undefined;
    this.#recordOffset = this.#offset + this.#at;
    this.#searched = this.#at;
  }

  /** Goes on behind the next newline that a record begins after. */
  #findRecord(): boolean {
    const found = this.#bytes.indexOf(recordStart, this.#at);
    // The last bytes may be the first of it.
    this.#at = found < 0 ? Math.max(this.#at, this.#bytes.length - recordStart.length + 1) : found + 1;
    this.#reset();
    this.#isLost = found < 0;
    return found >= 0;
  }

  #number(key: string, from: number, to: number): number {
    let value = 0;
    for (let at = from; at < to; at++) {
      const digit = (this.#bytes[at] as number) - 0x30;
      if (digit < 0 || digit > 9) throw this.#error(`${key} is not a whole number: ${this.#shown(from, to)}`);
      value = value * 10 + digit;
      if (value > Number.MAX_SAFE_INTEGER) throw this.#error(`${key} is too large: ${this.#shown(from, to)}`);
    }
    return value;
  }

  #text(key: string, from: number, to: number): Buffer {
    const text = unquoted(this.#bytes.subarray(from, to));
    if (text === undefined) throw this.#error(`${key} is not a quoted text: ${this.#shown(from, to)}`);
    return text;
  }

  #shown(from: number, to: number): string {
    return JSON.stringify(this.#bytes.toString('latin1', from, Math.min(to, from + 40)));
  }

  #error(reason: string): TrafficFileError {
    return new TrafficFileError(this.#options.file, this.#recordOffset, reason);
  }
}

/** Undefined: one that nobody knows. Without making a text of it, which would take a third of the time of reading. */
function keyOf(bytes: Buffer, from: number, to: number): Key | undefined {
  for (const [key, expected] of keysByLength.get(to - from) ?? []) {
    let index = 0;
    while (index < expected.length && bytes[from + index] === expected[index]) index++;
    if (index === expected.length) return key;
  }
  return undefined;
}

function emptyDraft(): Draft {
  return {
    timeUs: Number.NaN, connectionId: 0, command: Command.query, isCommandSet: false, success: true, capturedStatementId: 0, preparedText: undefined,
    user: undefined, database: undefined, collation: undefined, capabilities: undefined,
  };
}
