import type { SecureContextOptions } from 'node:tls';
import type { Capabilities } from '@binnacle/mysql-wire/capabilities';
import type { OkPacket } from '@binnacle/mysql-wire/ok-packet';
import type { ProxyHeader } from '@binnacle/mysql-wire/proxy-protocol';
import type { SessionChange } from '@binnacle/mysql-wire/session-changes';
import type { Backend, BackendKind } from '../backends/backend.js';
import type { ByteChannel } from './byte-channel.js';
import type { Credential } from './credentials.js';

export interface BackendTls {
  /** `preferred`: where the server offers it. */
  readonly mode: 'required' | 'preferred' | 'off';
  /** Without a `ca` the server's certificate is not looked at. */
  readonly context?: Pick<SecureContextOptions, 'ca' | 'cert' | 'key' | 'minVersion'>;
}

/** What every connection to a backend begins with. */
export interface BackendDial {
  readonly tls: BackendTls;
  /** Sent before everything else. */
  readonly proxyHeader?: ProxyHeader;
  /** Off unless given. */
  readonly compression?: 'zlib' | 'zstd';
}

export interface BackendLogin extends BackendDial {
  readonly user: string;
  /** Empty: none. */
  readonly database: string;
  readonly collation: number;
  readonly attributes: readonly (readonly [name: string, value: string])[] | undefined;
  /** Wanted: the client's. What the connection itself needs is added, what belongs to one side only is taken away. */
  readonly capabilities: Capabilities;
  readonly credential: Credential;
}

export interface QueryResult {
  /** Of the first result that has columns; values as text, null for NULL. Empty for commands other than COM_QUERY. */
  readonly rows: readonly (readonly (Buffer | null)[])[];
  readonly columns: readonly string[];
  /** What ended the last result; undefined where that was no OK packet. */
  readonly ok?: OkPacket;
  /** Bits of `StatusFlag`, as of the end. */
  readonly statusFlags: number;
  /** Of all results, in their order. */
  readonly changes: readonly SessionChange[];
  /** Of COM_STMT_PREPARE. */
  readonly statement?: { readonly id: number; readonly parameterCount: number; readonly columnCount: number };
}

/** A logged-in connection to one backend, used by sessions, migrations, KILL and health checks alike. */
export interface BackendConnection {
  readonly backend: Backend;
  readonly channel: ByteChannel;
  /** Agreed upon with the backend. */
  readonly capabilities: Capabilities;
  readonly threadId: number;
  readonly serverVersion: string;
  readonly kind: BackendKind;
  /** Number of the collation that the login asked for. */
  readonly collation: number;
  /** Of the login's OK, or of the last `command`. */
  readonly statusFlags: number;
  /** The login's OK packet, with what the server said of the session. */
  readonly loginOk: OkPacket;
  /**
   * One statement at a command boundary, while no session forwards. Rejects with `MysqlError`, after which the connection is as good as before,
   * or with `ConnectionLost`, after which it is closed: by the peer, at the deadline, over the limits (100,000 rows, 64 MB), for malformed answers.
   */
  query(sql: string | Buffer, timeoutMs: number): Promise<QueryResult>;
  /** As `query`, for another command: COM_PING, COM_INIT_DB, COM_STMT_PREPARE, COM_RESET_CONNECTION, ... The payload begins with its code. */
  command(payload: Buffer, timeoutMs: number): Promise<QueryResult>;
  /** COM_QUIT and FIN: to be called at a command boundary; otherwise `channel.destroy()`. */
  close(): void;
}

/** Connects and logs in. Rejects with `MysqlError` where the server refuses and with `ConnectionLost` for everything else. */
export function dialBackend(backend: Backend, _login: BackendLogin, _timeoutMs: number): Promise<BackendConnection> {
  return Promise.reject(new Error(`${backend.id} cannot be dialled yet`));
}
