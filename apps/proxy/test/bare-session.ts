import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Capability, type Capabilities } from '@binnacle/mysql-wire/capabilities';
import { waitUntil } from '@binnacle/testing/wait-until';
import { afterEach } from '@jest/globals';
import { BackendConnection } from '../src/connection/backend-connection.js';
import { MysqlError } from '../src/connection/mysql-error.js';
import { PlainChannel } from '../src/connection/plain-channel.js';
import { SessionState } from '../src/migration/session-state.js';
import { StatementExaminer } from '../src/migration/statement-effects.js';
import { sessionIdMin } from '../src/process/session-ids.js';
import type { FoundSession } from '../src/process/worker-protocol.js';
import type { Changed, Loss, SessionHost } from '../src/session/session-host.js';
import { Session } from '../src/session/session.js';
import type { Lease } from '../src/tenants/namespace.js';
import { backendAt } from './relayed-sessions.js';

const base = Capability.protocol41 | Capability.pluginAuth | Capability.localFiles | Capability.multiStatements | Capability.multiResults;
/** A backend as sessions are logged in there, and a client that understands the same. */
export const modern: Capabilities = { capabilities: base | Capability.deprecateEof | Capability.sessionTrack, mariadbCapabilities: 0 };
/** A client that needs its responses translated. */
export const classic: Capabilities = { capabilities: base, mariadbCapabilities: 0 };

const examiner = new StatementExaminer();
const none: ReadonlySet<string> = new Set();

/** Both ends of a session as bare sockets: what the client would be and what the server would be, logged in. */
export class BareSession implements SessionHost {
  readonly failures: Error[] = [];
  retriesReads = false;
  readonly losses: Loss[] = [];
  readonly killedIds: number[] = [];
  readonly found = new Map<number, FoundSession>();
  ended = false;
  onRecover: (session: Session, loss: Loss) => Promise<boolean> = () => Promise.resolve(false);
  onArm: (session: Session) => Promise<void> = () => Promise.resolve();
  onKillElsewhere: (victim: FoundSession, statement: string) => Promise<void> = () => Promise.reject(new MysqlError({ code: 1095, sqlState: 'HY000' }, 'no credential'));
  onChangeUser: (session: Session, payload: Buffer) => Promise<Changed | 'refused' | undefined> = () => Promise.resolve(undefined);
  session!: Session;
  client!: Socket;
  server!: Socket;
  readonly #listeners: Server[] = [];

  constructor(
    readonly clientCapabilities: Capabilities = modern,
    readonly options: { readonly tracked?: boolean; readonly lease?: Lease; readonly id?: number; readonly clientBufferBytes?: number } = {},
  ) {}

  async start(): Promise<this> {
    const [inside, client] = await this.#pair();
    const { connection, server } = await this.backend();
    this.client = client;
    this.server = server;
    const state = new SessionState({
      kind: 'mariadb', capabilities: modern.capabilities, collation: 45, database: 'test', statusFlags: 2, allowedFunctions: none, allowedProcedures: none, examiner, storedFunctions: () => none,
    } as ConstructorParameters<typeof SessionState>[0]);
    this.session = new Session(
      {
        id: this.options.id ?? sessionIdMin + 7, backend: connection, credential: { kind: 'password', password: '' }, namespace: 'default', startedAtMs: 0, state,
        client: { channel: inside, capabilities: this.clientCapabilities, user: 'u', database: 'test', collation: 45, attributes: [], address: '127.0.0.1', remotePort: inside.remotePort, port: inside.localPort, tls: false, rest: Buffer.alloc(0) },
        tracked: this.options.tracked ?? false, lease: this.options.lease, meter: undefined,
      },
      this,
    );
    this.session.start();
    return this;
  }

  /** One more backend, for `swap`. */
  async backend(threadId = 5): Promise<{ connection: BackendConnection; server: Socket }> {
    const listener = createServer().listen(0, '127.0.0.1');
    await once(listener, 'listening');
    this.#listeners.push(listener);
    const { port } = listener.address() as AddressInfo;
    const [channel, [server]] = await Promise.all([PlainChannel.dial({ host: '127.0.0.1', port, timeoutMs: 5_000 }), once(listener, 'connection') as Promise<[Socket]>]);
    server.on('error', () => {});
    const made = { backend: backendAt(port), channel, capabilities: modern, threadId, serverVersion: '10.11.6-MariaDB', collation: 45, statusFlags: 2 };
    return { connection: new BackendConnection(made as unknown as ConstructorParameters<typeof BackendConnection>[0]), server };
  }

  async #pair(): Promise<[PlainChannel, Socket]> {
    const listener = createServer({ pauseOnConnect: true, allowHalfOpen: true }).listen(0, '127.0.0.1');
    await once(listener, 'listening');
    this.#listeners.push(listener);
    const client = connect({ host: '127.0.0.1', port: (listener.address() as AddressInfo).port, allowHalfOpen: true });
    client.on('error', () => {});
    const [accepted] = (await once(listener, 'connection')) as [Socket];
    return [PlainChannel.accepted(accepted), client];
  }

  stop(): void {
    this.session.close();
    this.client.destroy();
    this.server.destroy();
    for (const listener of this.#listeners) listener.close();
  }

  arm(session: Session): Promise<void> {
    return this.onArm(session).then(() => {
      session.state.armed = true;
      session.state.needsArming = false;
    });
  }

  recover(session: Session, loss: Loss): Promise<boolean> {
    this.losses.push(loss);
    return this.onRecover(session, loss);
  }

  changeUser(session: Session, payload: Buffer): Promise<Changed | 'refused' | undefined> {
    return this.onChangeUser(session, payload);
  }

  findSession(id: number): Promise<FoundSession | undefined> {
    return Promise.resolve(this.found.get(id));
  }

  killElsewhere(_session: Session, victim: FoundSession, statement: string): Promise<void> {
    return this.onKillElsewhere(victim, statement);
  }

  killed(id: number): void {
    this.killedIds.push(id);
  }

  failed(_session: Session, error: Error): void {
    this.failures.push(error);
  }

  closed(): void {
    this.ended = true;
  }
}

/** Keeps what a socket receives. */
export class Received {
  bytes = Buffer.alloc(0);
  ended = false;
  closed = false;

  constructor(socket: Socket) {
    socket.on('data', (chunk: Buffer) => (this.bytes = Buffer.concat([this.bytes, chunk])));
    socket.on('end', () => (this.ended = true));
    socket.on('close', () => (this.closed = true));
    socket.on('error', () => {});
  }

  /** Waits until exactly these bytes are here, and forgets them. */
  async exactly(bytes: Buffer): Promise<void> {
    await waitUntil(() => this.bytes.length >= bytes.length || this.closed, { what: `${bytes.length} bytes`, timeoutMs: 10_000 });
    if (!this.bytes.equals(bytes)) throw new Error(`expected ${bytes.toString('hex')}, got ${this.bytes.toString('hex')}`);
    this.bytes = Buffer.alloc(0);
  }

  async end(): Promise<void> {
    await waitUntil(() => this.ended || this.closed, { what: 'the end', timeoutMs: 10_000 });
  }
}

/** For a file of tests: starts sessions, and ends them behind each test. */
export function bareSessions() {
  const running: BareSession[] = [];
  afterEach(() => {
    for (const bare of running.splice(0)) bare.stop();
  });
  return async (client: Capabilities = modern, options: ConstructorParameters<typeof BareSession>[1] = {}) => {
    const bare = await new BareSession(client, options).start();
    running.push(bare);
    return { bare, fromSession: new Received(bare.client), atServer: new Received(bare.server) };
  };
}
