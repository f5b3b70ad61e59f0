import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { decodeHandshake } from '@binnacle/mysql-wire/handshake';
import { kindOf } from '../src/connection/backend-connection.js';
import { changeUser, type UserChange } from '../src/connection/change-user.js';
import { acceptClient, type ClientOptions } from '../src/connection/client-connection.js';
import { Credentials, type Credential } from '../src/connection/credentials.js';
import type { BackendDial } from '../src/connection/greeted-backend.js';
import { login, LoginError, type Login } from '../src/connection/login.js';
import { PacketPort } from '../src/connection/packet-port.js';
import { PlainChannel } from '../src/connection/plain-channel.js';
import { SessionState } from '../src/migration/session-state.js';
import { StatementExaminer } from '../src/migration/statement-effects.js';
import { sessionIdMin } from '../src/process/session-ids.js';
import type { SessionHost } from '../src/session/session-host.js';
import { Session } from '../src/session/session.js';
import type { Backend, BackendGreeting } from '../src/backends/backend.js';
import { backendAt } from './relayed-sessions.js';

const timeoutMs = 10_000;
const none: ReadonlySet<string> = new Set();
const examiner = new StatementExaminer();

export interface LoginPortOptions {
  readonly client?: Partial<ClientOptions>;
  readonly dial?: Partial<BackendDial>;
  readonly credentials?: Credentials;
  readonly loginTimeoutMs?: number;
}

/** A port whose clients log in as with the proxy and are untracked sessions from then on. */
export class LoginPort implements SessionHost {
  readonly retriesReads = false;
  readonly logins: Login[] = [];
  readonly changes: UserChange[] = [];
  readonly errors: Error[] = [];
  readonly sessions = new Set<Session>();
  readonly credentials: Credentials;
  #greeting: BackendGreeting | undefined;
  readonly #server: Server;
  readonly #channels = new Set<PlainChannel>();
  readonly #backend: Backend;

  constructor(
    backendPort: number,
    private readonly options: LoginPortOptions = {},
  ) {
    this.#backend = backendAt(backendPort);
    this.credentials = options.credentials ?? new Credentials({ users: new Map(), keep: false });
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
      const channel = PlainChannel.accepted(socket);
      this.#channels.add(channel);
      this.#open(channel).catch((error: Error) => this.errors.push(error));
    });
  }

  /** @param greeterPort who is asked what to greet with; the backend unless given */
  async listen(greeterPort = this.#backend.port): Promise<number> {
    this.#greeting = await greetingAt(greeterPort);
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this.port;
  }

  /** Clients that have not gone. */
  get open(): number {
    return [...this.#channels].filter((channel) => !channel.closed).length;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const channel of this.#channels) channel.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #open(channel: PlainChannel): Promise<void> {
    const loginTimeoutMs = this.options.loginTimeoutMs ?? timeoutMs;
    const id = sessionIdMin + this.logins.length;
    const client = await acceptClient(channel, { connectionId: id, greeting: this.#greeting!, proxyProtocol: false, timeoutMs: loginTimeoutMs, ...this.options.client });
    try {
      const made = await login(client, this.#backend, { tls: { mode: 'off', verify: false }, ...this.options.dial, credentials: this.credentials, timeoutMs: loginTimeoutMs });
      this.logins.push(made);
      this.#start(made, id);
    } catch (error) {
      if (error instanceof LoginError && error.retryable) client.refuse(error.error);
      throw error;
    }
  }

  #start({ client, backend, credential }: Login, id: number): void {
    const { capabilities } = backend.capabilities;
    const known = { collation: client.collation, database: client.database, statusFlags: backend.statusFlags, allowedFunctions: none, allowedProcedures: none, examiner, storedFunctions: () => none };
    const state = new SessionState({ kind: kindOf(backend.serverVersion), capabilities, ...known } as ConstructorParameters<typeof SessionState>[0]);
    const session = new Session({ id, client, backend, credential, namespace: 'default', startedAtMs: 0, state, tracked: false, lease: undefined, meter: undefined }, this);
    this.sessions.add(session);
    session.start();
  }

  /** Of the login that came last. */
  get credential(): Credential | undefined {
    return this.logins.at(-1)!.credential;
  }

  arm(): Promise<void> {
    return Promise.resolve();
  }

  recover(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async changeUser(session: Session, payload: Buffer): Promise<UserChange> {
    const changed = await changeUser(session.client, session.backend, payload, { credentials: this.credentials, timeoutMs });
    this.changes.push(changed);
    return changed;
  }

  findSession(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  killElsewhere(): Promise<void> {
    return Promise.reject(new Error('not here'));
  }

  killed(): void {}

  failed(_session: Session, error: Error): void {
    this.errors.push(error);
  }

  closed(session: Session): void {
    this.sessions.delete(session);
  }
}

/** Leaves at once, so that the backend counts no login. */
async function greetingAt(port: number): Promise<BackendGreeting> {
  const channel = await PlainChannel.dial({ host: '127.0.0.1', port, timeoutMs });
  try {
    return decodeHandshake(await new PacketPort(channel, 'the server', 16_384).read());
  } finally {
    channel.destroy();
  }
}
