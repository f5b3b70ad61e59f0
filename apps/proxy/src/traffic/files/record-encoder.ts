import { Command } from '@binnacle/mysql-wire/command';
import { quotedBytesMax, writeQuoted } from './quoted-text.js';
import { commandText, type TrafficRecord } from './record.js';
import { timeBytesMax, TimeWriter } from './record-time.js';

const timeKey = Buffer.from('# Time: ');
const connectionKey = Buffer.from('\n# Conn_ID: ');
const failureLine = Buffer.from('# Success: false\n');
const statementIdKey = Buffer.from('# Captured_ps_id: ');
const preparedTextKey = Buffer.from('# Prepared_stmt: ');
const userKey = Buffer.from('# Binnacle_user: ');
const databaseKey = Buffer.from('# Binnacle_database: ');
const collationKey = Buffer.from('# Binnacle_collation: ');
const capabilitiesKey = Buffer.from('# Binnacle_capabilities: ');
const payloadKey = Buffer.from('# Payload_len: ');
const commandLines = Array.from({ length: 256 }, (_, command) => Buffer.from(command === Command.query ? '' : `# Cmd_type: ${commandText(command)}\n`));
const numberBytesMax = 16;
const keys = [timeKey, connectionKey, failureLine, statementIdKey, preparedTextKey, userKey, databaseKey, collationKey, capabilitiesKey, payloadKey];
/** Of a header without texts: its keys, nine ends of lines, the quotes of three texts, the time, five numbers and the command. */
const plainHeaderBytesMax =
  keys.reduce((sum, key) => sum + key.length, 0) + 9 + 6 + timeBytesMax + 5 * numberBytesMax + Math.max(...commandLines.map((line) => line.length));
const newline = 0x0a;

/** Writes records into buffers that the caller has. One encoder serves all connections of a thread. */
export class RecordEncoder {
  readonly #times = new TimeWriter();

  /** Enough for the header of this record. */
  headerBytesMax({ preparedText, user, database }: Omit<TrafficRecord, 'payload'>): number {
    const textBytes = (preparedText?.length ?? 0) + textBytesMax(user) + textBytesMax(database);
    return plainHeaderBytesMax + textBytes * quotedBytesMax;
  }

  recordBytesMax(record: TrafficRecord): number {
    return this.headerBytesMax(record) + record.payload.length + 1;
  }

  /** Returns the offset behind the record; -1 when the rest of the target may be too short, which is then as it was. */
  record(target: Buffer, at: number, record: TrafficRecord): number {
    const { payload } = record;
    if (at + this.recordBytesMax(record) > target.length) return -1;
    const from = this.header(target, at, record, payload.length);
    target.set(payload, from);
    target[from + payload.length] = newline;
    return from + payload.length + 1;
  }

  /** For payloads that come in pieces: the caller has room for `headerBytesMax`, appends the payload's bytes, and a newline. Returns the offset behind. */
  header(target: Buffer, at: number, record: Omit<TrafficRecord, 'payload'>, payloadBytes: number): number {
    const { timeUs, connectionId, command, capturedStatementId = 0, preparedText, user, database, collation, capabilities } = record;
    at = append(target, at, timeKey);
    at = this.#times.write(target, at, timeUs);
    at = append(target, at, connectionKey);
    at = appendLine(target, at, connectionId);
    at = append(target, at, commandLines[command] as Buffer);
    if (record.success === false) at = append(target, at, failureLine);
    if (capturedStatementId !== 0) at = appendLine(target, append(target, at, statementIdKey), capturedStatementId);
    if (preparedText !== undefined && preparedText.length > 0) at = appendText(target, at, preparedTextKey, preparedText);
    if (user !== undefined) at = appendText(target, at, userKey, Buffer.from(user));
    if (database !== undefined) at = appendText(target, at, databaseKey, Buffer.from(database));
    if (collation !== undefined) at = appendLine(target, append(target, at, collationKey), collation);
    if (capabilities !== undefined) at = appendLine(target, append(target, at, capabilitiesKey), capabilities);
    at = append(target, at, payloadKey);
    return appendLine(target, at, payloadBytes);
  }
}

function textBytesMax(text: string | undefined): number {
  return text === undefined ? 0 : text.length * 3;
}

/** So short that a loop is faster than a call that leaves JavaScript. */
function append(target: Buffer, at: number, bytes: Buffer): number {
  for (let index = 0; index < bytes.length; index++) target[at++] = bytes[index] as number;
  return at;
}

function appendText(target: Buffer, at: number, key: Buffer, text: Uint8Array): number {
  at = writeQuoted(target, append(target, at, key), text);
  target[at] = newline;
  return at + 1;
}

/** A whole number in decimal, and the end of the line. */
export function appendLine(target: Buffer, at: number, value: number): number {
  at = appendNumber(target, at, value);
  target[at] = newline;
  return at + 1;
}

export function appendNumber(target: Buffer, at: number, value: number): number {
  let digits = 1;
  for (let limit = 10; value >= limit; limit *= 10) digits++;
  const end = at + digits;
  for (let index = end - 1; index >= at; index--) {
    const rest = Math.floor(value / 10);
    target[index] = 0x30 + (value - rest * 10);
    value = rest;
  }
  return end;
}
