import type { ErrPacket } from '@binnacle/mysql-wire/err-packet';
import type { ErrorCode } from '@binnacle/mysql-wire/error-codes';

/** What a server, or the proxy in its place, says in an ERR packet: it can go to a client as it is. */
export class MysqlError extends Error implements ErrPacket {
  override readonly name = 'MysqlError';
  readonly code: number;
  /** Five characters, or empty where the server sent none. */
  readonly sqlState: string;

  constructor(error: ErrorCode, message: string) {
    super(message);
    this.code = error.code;
    this.sqlState = error.sqlState;
  }
}

/** A backend cannot be reached, went away, was not in time, or said what no server says: nothing more will come over that connection. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}

/** A peer sent a packet that is out of order or longer than it may be; `error` is what it is told, if it is a client. */
export class BadPacket extends Error {
  override readonly name = 'BadPacket';

  constructor(
    readonly error: ErrorCode,
    message: string,
  ) {
    super(message);
  }
}
