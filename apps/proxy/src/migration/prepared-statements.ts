import { queryAttributeTypesPassed } from './parameter-types.js';
import type { ExaminedStatement } from './statement-effects.js';

/** What decides how a text is understood when it is prepared. */
export interface PreparedWithin {
  readonly database: string;
  readonly sqlMode: string;
  /** Equal where character sets and collations are, which are not all reported. */
  readonly charsets: string;
}

/** A statement of COM_STMT_PREPARE. */
export interface PreparedStatement {
  readonly clientId: number;
  readonly statement: ExaminedStatement;
  /** The text as it was sent: in the character set of the time. */
  readonly within: PreparedWithin;
  readonly parameterCount: number;
  readonly columnCount: number;
  /** As the last execution that named them: two bytes each. Undefined: none has, or there are no parameters. */
  types: Buffer | undefined;
  typesUnknown: boolean;
  cursor: boolean;
  longData: boolean;
}

/** MariaDB's clients mean the statement prepared last. */
const lastPrepared = 0xff_ff_ff_ff;
const statementsMax = 4_096;
const textCharactersMax = 1_048_576;
/** Code, id, flags, iterations. */
const executeHeadBytes = 10;
const bulkHeadBytes = 7;
const bulkSendsTypes = 128;

/** The prepared statements of one session, as its client numbers them. */
export class PreparedStatements {
  readonly #byId = new Map<number, PreparedStatement>();
  #characters = 0;
  #last: PreparedStatement | undefined;
  /** There are, or were, more than are kept: the session cannot be rebuilt. */
  overflowed = false;
  cursors = 0;
  longData = 0;

  /** In the order in which they were prepared. */
  [Symbol.iterator](): IterableIterator<PreparedStatement> {
    return this.#byId.values();
  }

  get size(): number {
    return this.#byId.size;
  }

  get(clientId: number): PreparedStatement | undefined {
    return clientId === lastPrepared ? this.#last : this.#byId.get(clientId);
  }

  add(clientId: number, statement: ExaminedStatement, parameterCount: number, columnCount: number, within: PreparedWithin): void {
    this.close(clientId);
    this.#characters += statement.text.length;
    if (this.#byId.size >= statementsMax || this.#characters > textCharactersMax) this.overflowed = true;
    if (this.overflowed) return;
    this.#last = { clientId, statement, within, parameterCount, columnCount, types: undefined, typesUnknown: false, cursor: false, longData: false };
    this.#byId.set(clientId, this.#last);
  }

  close(clientId: number): void {
    const prepared = this.get(clientId);
    if (prepared === undefined) return;
    this.setCursor(prepared, false);
    this.setLongData(prepared, false);
    this.#characters -= prepared.statement.text.length;
    this.#byId.delete(prepared.clientId);
    if (this.#last === prepared) this.#last = undefined;
  }

  setCursor(prepared: PreparedStatement, open: boolean): void {
    if (prepared.cursor !== open) this.cursors += open ? 1 : -1;
    prepared.cursor = open;
  }

  setLongData(prepared: PreparedStatement, pending: boolean): void {
    if (prepared.longData !== pending) this.longData += pending ? 1 : -1;
    prepared.longData = pending;
  }

  /** COM_STMT_EXECUTE: remembers the types it names. `cut`: `end` is not the end of the command. */
  executed(prepared: PreparedStatement, payload: Buffer, start: number, end: number, cut: boolean, withNames: boolean): void {
    this.setLongData(prepared, false);
    const count = prepared.parameterCount;
    if (count === 0) return;
    if (withNames) {
      const types = queryAttributeTypesPassed(payload, start, end, count);
      if (types === undefined) prepared.typesUnknown = true;
      else if (types.length > 0) this.#setTypes(prepared, types, 0, types.length);
      return;
    }
    const flag = start + executeHeadBytes + ((count + 7) >> 3);
    if (flag < end && payload[flag] !== 1) return;
    this.#takeTypes(prepared, payload, flag + 1, end, cut);
  }

  /** COM_STMT_BULK_EXECUTE of MariaDB. */
  bulkExecuted(prepared: PreparedStatement, payload: Buffer, start: number, end: number, cut: boolean): void {
    if (start + bulkHeadBytes > end || (payload.readUInt16LE(start + 5) & bulkSendsTypes) === 0) return;
    this.#takeTypes(prepared, payload, start + bulkHeadBytes, end, cut);
  }

  #takeTypes(prepared: PreparedStatement, payload: Buffer, from: number, end: number, cut: boolean): void {
    const to = from + 2 * prepared.parameterCount;
    // A command that ends too early is refused by the server; one that was cut has types that nobody saw.
    if (to <= end) this.#setTypes(prepared, payload, from, to);
    else if (cut) prepared.typesUnknown = true;
  }

  #setTypes(prepared: PreparedStatement, bytes: Buffer, from: number, to: number): void {
    prepared.typesUnknown = false;
    if (prepared.types?.compare(bytes, from, to) !== 0) prepared.types = Buffer.from(bytes.subarray(from, to));
  }

  clear(): void {
    this.#byId.clear();
    this.#characters = 0;
    this.#last = undefined;
    this.overflowed = false;
    this.cursors = 0;
    this.longData = 0;
  }
}
