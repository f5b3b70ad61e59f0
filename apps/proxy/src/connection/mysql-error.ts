import type { ErrPacket } from '@binnacle/mysql-wire/err-packet';

/** What a server, or the proxy in its place, says in an ERR packet: it can go to a client as it is. */
export class MysqlError extends Error implements ErrPacket {
  override readonly name = 'MysqlError';
  readonly code: number;
  /** Five characters, or empty where the server sent none. */
  readonly sqlState: string;

  constructor(error: { readonly code: number; readonly sqlState: string }, message: string) {
    super(message);
    this.code = error.code;
    this.sqlState = error.sqlState;
  }
}

/** A backend cannot be reached, went away, was not in time, or said what no server says: nothing more will come over that connection. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}
