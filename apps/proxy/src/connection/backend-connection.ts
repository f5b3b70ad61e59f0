import { Capability, has, type Capabilities } from '@binnacle/mysql-wire/capabilities';
import { Command, isAnswered } from '@binnacle/mysql-wire/command';
import { framePayload } from '@binnacle/mysql-wire/packet-header';
import { StatusFlag } from '@binnacle/mysql-wire/status-flags';
import type { Backend, BackendKind } from '../backends/backend.js';
import type { ByteChannel } from './byte-channel.js';
import { credentialLogin } from './credential-login.js';
import type { Credential } from './credentials.js';
import { Deadline } from './deadline.js';
import { GreetedBackend, type BackendAccount, type BackendDial } from './greeted-backend.js';
import { ConnectionLost, MysqlError } from './mysql-error.js';
import { closeSoon, isLeft } from './nobody.js';
import { PacketPort } from './packet-port.js';
import { ResultReader, resultBytesMax, type QueryResult } from './result-reader.js';

export type { BackendAccount, BackendDial, BackendTls } from './greeted-backend.js';
export type { QueryResult } from './result-reader.js';

export interface BackendLogin extends BackendDial, BackendAccount {
  readonly credential: Credential;
}

/** What the login came to. */
export interface LoggedIn {
  readonly backend: Backend;
  readonly channel: ByteChannel;
  readonly capabilities: Capabilities;
  readonly threadId: number;
  readonly serverVersion: string;
  readonly collation: number;
  /** As the server says them: with `sessionStateChanged`. */
  readonly statusFlags: number;
}

/** By what a server greets with: `11.4.2-MariaDB-log`, `8.0.11-TiDB-v8.5.0`, `8.4.3`. */
export function kindOf(serverVersion: string): BackendKind {
  if (/mariadb/i.test(serverVersion)) return 'mariadb';
  return /tidb/i.test(serverVersion) ? 'tidb' : 'mysql';
}

/** No attributes and no parameters: what stands before the statement where query attributes were agreed upon. */
const noAttributes = Buffer.from([Command.query, 0, 1]);
const queryOnly = Buffer.from([Command.query]);

const unanswered: QueryResult = { rows: [], columns: [], statusFlags: -1, changes: [] };

/** A logged-in connection to one backend, used by sessions, migrations, KILL and health checks alike. */
export class BackendConnection {
  readonly backend: Backend;
  /** Decrypted and decompressed; paused, and its callbacks nobody's, until a session takes it over. */
  readonly channel: ByteChannel;
  /** Agreed upon with the backend, compression and TLS left out. */
  readonly capabilities: Capabilities;
  readonly threadId: number;
  readonly serverVersion: string;
  readonly kind: BackendKind;
  /** Number of the collation that the login asked for. */
  readonly collation: number;
  /** Bits of `StatusFlag` without `sessionStateChanged`, of the login's OK or of the last `command`. */
  statusFlags: number;

  constructor(made: LoggedIn) {
    this.backend = made.backend;
    this.channel = made.channel;
    this.capabilities = made.capabilities;
    this.threadId = made.threadId;
    this.serverVersion = made.serverVersion;
    this.kind = kindOf(made.serverVersion);
    this.collation = made.collation;
    this.statusFlags = made.statusFlags & ~StatusFlag.sessionStateChanged;
  }

  /**
   * One statement at a command boundary, while no session forwards; one at a time. Rejects with `MysqlError`, after which the connection is as good as
   * before, or with `ConnectionLost`, after which it is closed: by the peer, at the deadline, over the limits (100,000 rows, 64 MB), for malformed answers.
   */
  query(sql: string | Buffer, timeoutMs: number): Promise<QueryResult> {
    const prefix = has(this.capabilities.capabilities, Capability.queryAttributes) ? noAttributes : queryOnly;
    return this.command(Buffer.concat([prefix, Buffer.from(sql as string)]), timeoutMs);
  }

  /**
   * As `query`, for another command: COM_PING, COM_INIT_DB, COM_STMT_PREPARE, COM_RESET_CONNECTION, ... The payload begins with its code. Those that are
   * never answered resolve at once.
   */
  async command(payload: Buffer, timeoutMs: number): Promise<QueryResult> {
    const { channel } = this;
    if (!isAnswered(payload[0]!)) {
      channel.write(framePayload(payload, 0));
      return unanswered;
    }
    const { onBytes, onDrain, onEnd, onClosed } = channel;
    const wasLeft = isLeft(channel);
    const port = new PacketPort(channel, this.backend.id, resultBytesMax);
    const deadline = new Deadline(timeoutMs, () => new ConnectionLost(`${this.backend.id} did not answer within ${timeoutMs} ms`));
    deadline.watch(port);
    try {
      port.write(payload);
      const result = await new ResultReader(port, this.capabilities).read(payload[0]!);
      if (port.unread.length > 0) throw new ConnectionLost(`${this.backend.id} said more than was asked`);
      if (result.statusFlags !== -1) this.statusFlags = result.statusFlags;
      return result;
    } catch (error) {
      if (error instanceof MysqlError) throw error;
      channel.destroy();
      throw lost(this.backend, error);
    } finally {
      deadline.over();
      // Whoever gets the channel back would not hear that the server has gone.
      if (port.ended) channel.destroy();
      port.release();
      Object.assign(channel, { onBytes, onDrain, onEnd, onClosed });
      if (!wasLeft) channel.resume();
    }
  }

  /** COM_QUIT and FIN: to be called at a command boundary; otherwise `channel.destroy()`. */
  close(): void {
    closeSoon(this.channel, framePayload(Buffer.from([Command.quit]), 0));
  }
}

function lost(backend: Backend, error: unknown): ConnectionLost {
  if (error instanceof ConnectionLost) return error;
  return new ConnectionLost(`${backend.id}: ${(error as Error).message}`, { cause: error });
}

/** Connects and logs in. Rejects with `MysqlError` where the server refuses and with `ConnectionLost` for everything else. */
export async function dialBackend(backend: Backend, login: BackendLogin, timeoutMs: number): Promise<BackendConnection> {
  const deadline = new Deadline(timeoutMs, () => new ConnectionLost(`${backend.id} did not let us in within ${timeoutMs} ms`));
  let greeted: GreetedBackend | undefined;
  try {
    greeted = await GreetedBackend.dial(backend, login, deadline);
    const ok = await credentialLogin(greeted, login, login.credential);
    return new BackendConnection(greeted.finish(ok));
  } catch (error) {
    greeted?.giveUp();
    throw error instanceof MysqlError ? error : lost(backend, error);
  } finally {
    deadline.over();
  }
}
