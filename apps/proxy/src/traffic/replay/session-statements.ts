import type { StatementNature } from '@binnacle/mysql-wire/read-only';
import { statementIdOffset } from './replay-connection.js';
import type { QueuedCommand } from './replay-session.js';
import type { ReplayedStatement } from './replayed-statement.js';

/** A prepared statement of one session. */
export interface SessionStatement {
  readonly idThen: number;
  readonly statement: ReplayedStatement;
  /** Undefined: it is not prepared there. */
  idNow: number | undefined;
  /** What to prepare before its first execution. */
  text: Buffer | undefined;
}

/** MariaDB's clients mean the statement prepared last. */
const lastPrepared = 0xff_ff_ff_ff;

/** What a session has prepared, by the ids of then. */
export class SessionStatements {
  /** Prepared in SQL text, and known to read, by their names in lower case. */
  readonly texts = new Map<string, StatementNature>();
  readonly #byId = new Map<number, SessionStatement>();
  #last: SessionStatement | undefined;
  #count = 0;
  #idsAreSaid = false;

  /** Undefined: nobody knows what it is. */
  of({ capturedStatementId, preparedText, frame }: QueuedCommand, examine: (text: Buffer) => ReplayedStatement): SessionStatement | undefined {
    if (capturedStatementId !== undefined) this.#idsAreSaid = true;
    const id = capturedStatementId ?? (frame.length >= statementIdOffset + 4 ? frame.readUInt32LE(statementIdOffset) : 0);
    const known = id === lastPrepared ? this.#last : this.#byId.get(id);
    if (known !== undefined || preparedText === undefined) return known;
    const added: SessionStatement = { idThen: id, statement: examine(preparedText), idNow: undefined, text: preparedText };
    this.#byId.set(id, added);
    return added;
  }

  /**
   * COM_STMT_PREPARE. Files that do not say ids are of servers that count them from 1 in every session.
   * @param idNow undefined: it was not sent, or failed
   */
  prepared({ capturedStatementId }: QueuedCommand, statement: ReplayedStatement, idNow: number | undefined): void {
    if (capturedStatementId !== undefined) this.#idsAreSaid = true;
    else if (this.#idsAreSaid) return;
    const idThen = capturedStatementId ?? ++this.#count;
    this.#last = { idThen, statement, idNow, text: undefined };
    this.#byId.set(idThen, this.#last);
  }

  closed(closed: SessionStatement): void {
    this.#byId.delete(closed.idThen);
    if (this.#last === closed) this.#last = undefined;
  }

  clear(): void {
    this.#byId.clear();
    this.texts.clear();
    this.#last = undefined;
  }
}
