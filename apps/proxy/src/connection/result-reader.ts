import { Capability, has, MariadbCapability, type Capabilities } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';
import { decodeErr, errCode, errHeader } from '@binnacle/mysql-wire/err-packet';
import { progressReportCode } from '@binnacle/mysql-wire/error-codes';
import { decodeOk, eofBytes, eofHeader, okHeader, statusAndWarnings, type OkPacket } from '@binnacle/mysql-wire/ok-packet';
import { payloadBytesMax } from '@binnacle/mysql-wire/packet-header';
import { PacketReader } from '@binnacle/mysql-wire/packet-reader';
import type { SessionChange } from '@binnacle/mysql-wire/session-changes';
import { StatusFlag } from '@binnacle/mysql-wire/status-flags';
import { ConnectionLost, MysqlError } from './mysql-error.js';
import type { PacketPort } from './packet-port.js';

export interface QueryResult {
  /** Of the first result that has columns; values as text, null for NULL. Empty for commands other than COM_QUERY and COM_STATISTICS. */
  readonly rows: readonly (readonly (Buffer | null)[])[];
  readonly columns: readonly string[];
  /** What ended the last result; undefined where that was no OK packet. */
  readonly ok?: OkPacket;
  /** Bits of `StatusFlag` without `sessionStateChanged`, as of the end; -1 where nothing said them. */
  readonly statusFlags: number;
  /** Of all results, in their order. */
  readonly changes: readonly SessionChange[];
  /** Of COM_STMT_PREPARE. */
  readonly statement?: { readonly id: number; readonly parameterCount: number; readonly columnCount: number };
}

/** The proxy asks for what fits in memory: a list of variables, the states of a session. */
const rowsMax = 100_000;
export const resultBytesMax = 64 * 1_048_576;

const fileRequestHeader = 0xfb;
const nullValue = 0xfb;

/** Reads the whole answer to one command. Rejects with the server's `MysqlError`, or with what the port or the decoders throw. */
export class ResultReader {
  readonly #port: PacketPort;
  readonly #capabilities: number;
  readonly #mariadbCapabilities: number;
  readonly #rows: (Buffer | null)[][] = [];
  readonly #changes: SessionChange[] = [];
  #columns: string[] = [];
  #ok: OkPacket | undefined;
  #statusFlags = -1;
  #bytes = 0;

  constructor(port: PacketPort, { capabilities, mariadbCapabilities }: Capabilities) {
    this.#port = port;
    this.#capabilities = capabilities;
    this.#mariadbCapabilities = mariadbCapabilities;
  }

  async read(command: number): Promise<QueryResult> {
    if (command === Command.stmtPrepare) return this.#readPrepared();
    if (command === Command.statistics) this.#rows.push([await this.#packet()]);
    else do await this.#readOne(); while (this.#statusFlags !== -1 && (this.#statusFlags & StatusFlag.moreResultsExist) !== 0);
    return this.#result();
  }

  #result(): QueryResult {
    const ended = this.#ok === undefined ? {} : { ok: this.#ok };
    return { rows: this.#rows, columns: this.#columns, ...ended, statusFlags: this.#statusFlags, changes: this.#changes };
  }

  /** The next packet that is no error and no report of progress. */
  async #packet(): Promise<Buffer> {
    for (;;) {
      const payload = await this.#port.read();
      this.#bytes += payload.length;
      if (this.#bytes > resultBytesMax) throw new ConnectionLost(`an answer of more than ${resultBytesMax} bytes`);
      if (payload[0] !== errHeader) return payload;
      if (errCode(payload, 0, payload.length) !== progressReportCode) throw errorOf(payload);
    }
  }

  async #readOne(): Promise<void> {
    let first = await this.#packet();
    if (first[0] === fileRequestHeader) {
      // Nothing here has a file to give: an empty packet says so.
      this.#port.write(Buffer.alloc(0));
      first = await this.#packet();
    }
    if (first[0] === okHeader || first[0] === eofHeader) return this.#ended(first);
    await this.#readRows(first);
  }

  async #readRows(first: Buffer): Promise<void> {
    const reader = new PacketReader(first, 'column count');
    const count = Number(reader.lenenc('columns'));
    const defined = !has(this.#mariadbCapabilities, MariadbCapability.cacheMetadata) || reader.u8('metadata flag') === 1;
    const columns = await this.#definitions(defined ? count : 0);
    if (!has(this.#capabilities, Capability.deprecateEof)) await this.#packet();
    const kept = this.#columns.length === 0;
    if (kept) this.#columns = columns;
    for (;;) {
      const payload = await this.#packet();
      if (payload[0] === eofHeader && payload.length < payloadBytesMax) return this.#ended(payload);
      if (!kept) continue;
      if (this.#rows.length === rowsMax) throw new ConnectionLost(`an answer of more than ${rowsMax} rows`);
      this.#rows.push(decodeRow(payload, count));
    }
  }

  async #definitions(count: number): Promise<string[]> {
    const names: string[] = [];
    for (let i = 0; i < count; i++) {
      const reader = new PacketReader(await this.#packet(), 'column definition');
      for (const field of ['catalog', 'schema', 'table', 'original table']) reader.lenencBytes(field);
      names.push(reader.lenencString('name'));
    }
    return names;
  }

  #ended(payload: Buffer): void {
    if (payload.length === eofBytes) {
      this.#statusFlags = statusAndWarnings(payload, 0, payload.length) & 0xff_ff & ~StatusFlag.sessionStateChanged;
      return;
    }
    this.#ok = decodeOk(payload, this.#capabilities);
    this.#statusFlags = this.#ok.statusFlags & ~StatusFlag.sessionStateChanged;
    this.#changes.push(...this.#ok.changes);
  }

  async #readPrepared(): Promise<QueryResult> {
    const reader = new PacketReader(await this.#packet(), 'prepared statement');
    reader.expect(okHeader, 'the header');
    const statement = { id: reader.u32('statement id'), columnCount: reader.u16('columns'), parameterCount: reader.u16('parameters') };
    const eofs = has(this.#capabilities, Capability.deprecateEof) ? 0 : 1;
    for (const count of [statement.parameterCount, statement.columnCount]) {
      for (let left = count > 0 ? count + eofs : 0; left > 0; left--) await this.#packet();
    }
    return { ...this.#result(), statement };
  }
}

export function errorOf(payload: Buffer): MysqlError {
  const error = decodeErr(payload);
  return new MysqlError(error, error.message);
}

function decodeRow(payload: Buffer, columns: number): (Buffer | null)[] {
  const reader = new PacketReader(payload, 'row');
  const row: (Buffer | null)[] = [];
  for (let i = 0; i < columns; i++) {
    if (payload[reader.offset] === nullValue && reader.left > 0) {
      reader.u8('NULL');
      row.push(null);
    } else row.push(reader.lenencBytes('value'));
  }
  return row;
}
