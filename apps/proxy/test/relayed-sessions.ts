import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { agreed, Capability, has, type Capabilities } from '@binnacle/mysql-wire/capabilities';
import { decodeHandshake, encodeHandshake } from '@binnacle/mysql-wire/handshake';
import { decodeOk } from '@binnacle/mysql-wire/ok-packet';
import type { Backend } from '../src/backends/backend.js';
import { BackendConnection } from '../src/connection/backend-connection.js';
import type { LoggedInClient } from '../src/connection/client-connection.js';
import type { Credential } from '../src/connection/credentials.js';
import { PacketPort } from '../src/connection/packet-port.js';
import { PlainChannel } from '../src/connection/plain-channel.js';
import { SessionState } from '../src/migration/session-state.js';
import { StatementExaminer } from '../src/migration/statement-effects.js';
import { newSessionId } from '../src/process/session-ids.js';
import type { Loss, SessionHost } from '../src/session/session-host.js';
import { Session } from '../src/session/session.js';
import type { FoundSession } from '../src/process/worker-protocol.js';
import type { Lease } from '../src/tenants/namespace.js';

const packetBytesMax = 1_048_576;
const loginTimeoutMs = 10_000;
const examiner = new StatementExaminer();
const none: ReadonlySet<string> = new Set();

export interface RelayedOptions {
  /** Asked of the backend whatever the client can. */
  readonly adds?: number;
  /** Neither side gets to know that the other can this. */
  readonly hides?: number;
  /** `SessionState` is told what passes. */
  readonly tracked?: boolean;
  readonly lease?: () => Lease;
  readonly arm?: (session: Session) => Promise<void>;
  readonly recover?: (session: Session, loss: Loss) => Promise<boolean>;
}

/**
 * A port whose clients log in at a backend themselves, packet by packet through us, and are sessions from then on: what a session does, without what
 * the proxy's own logins, settings and limits do.
 */
export class RelayedSessions implements SessionHost {
  readonly sessions = new Map<number, Session>();
  readonly failures: Error[] = [];
  retriesReads = false;
  readonly ended: number[] = [];
  readonly killedIds: number[] = [];
  readonly #server: Server;

  constructor(
    readonly backendPort: number,
    private readonly options: RelayedOptions = {},
  ) {
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
      const channel = PlainChannel.accepted(socket);
      this.#open(channel).catch(() => channel.destroy());
    });
  }

  async listen(port = 0): Promise<number> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  close(): Promise<void> {
    for (const session of this.sessions.values()) session.close();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  async #open(channel: PlainChannel): Promise<void> {
    const id = newSessionId(0, 1, (taken) => this.sessions.has(taken));
    const made = await relayLogin(channel, this.backendPort, id, this.options);
    const { client, backend } = made;
    const state = new SessionState({
      kind: backend.kind,
      capabilities: backend.capabilities.capabilities,
      collation: client.collation,
      database: client.database,
      statusFlags: backend.statusFlags,
      allowedFunctions: none,
      allowedProcedures: none,
      examiner,
      storedFunctions: () => none,
    } as ConstructorParameters<typeof SessionState>[0]);
    const credential: Credential = { kind: 'password', password: 'root' };
    const tracked = this.options.tracked ?? false;
    const session = new Session({ id, client, backend, credential, namespace: 'default', startedAtMs: Date.now(), state, tracked, lease: this.options.lease?.(), meter: undefined }, this);
    this.sessions.set(id, session);
    session.start();
  }

  async arm(session: Session): Promise<void> {
    await this.options.arm?.(session);
    session.state.armed = true;
    session.state.needsArming = false;
  }

  recover(session: Session, loss: Loss): Promise<boolean> {
    return this.options.recover?.(session, loss) ?? Promise.resolve(false);
  }

  changeUser(): Promise<undefined> {
    return Promise.reject(new Error('not here'));
  }

  async findSession(id: number): Promise<FoundSession | undefined> {
    const session = this.sessions.get(id);
    return session && { node: 'here', id, user: session.user, backend: session.backend.backend.id, backendThreadId: session.backend.threadId };
  }

  killElsewhere(): Promise<void> {
    return Promise.reject(new Error('not here'));
  }

  killed(id: number): void {
    this.killedIds.push(id);
    this.sessions.get(id)?.close();
  }

  failed(_session: Session, error: Error): void {
    this.failures.push(error);
  }

  closed(session: Session): void {
    this.ended.push(session.id);
    this.sessions.delete(session.id);
  }
}

export function backendAt(port: number): Backend {
  const id = `127.0.0.1:${port}`;
  return { id, host: '127.0.0.1', port, cluster: 'default', kind: 'mariadb', healthy: true, reason: '', draining: false, readOnly: false, group: id, labels: {} };
}

/** Passes the packets of the login on, with other capabilities and another thread id in them. */
async function relayLogin(channel: PlainChannel, backendPort: number, connectionId: number, { adds = 0, hides = 0 }: RelayedOptions): Promise<{ client: LoggedInClient; backend: BackendConnection }> {
  const hidden = hides | Capability.ssl | Capability.compress | Capability.zstdCompression;
  const backendChannel = await PlainChannel.dial({ host: '127.0.0.1', port: backendPort, timeoutMs: loginTimeoutMs });
  const server = new PacketPort(backendChannel, 'the server', packetBytesMax);
  const client = new PacketPort(channel, 'the client', packetBytesMax);
  const greeting = decodeHandshake(await server.read());
  client.write(encodeHandshake({ ...greeting, connectionId, capabilities: (greeting.capabilities & ~hidden) >>> 0 }));
  const response = await client.read();
  const clientCan = read(response);
  const asked: Capabilities = { ...clientCan, capabilities: ((clientCan.capabilities & ~hidden) | adds) >>> 0 };
  response.writeUInt32LE(asked.capabilities, 0);
  server.sequenceId = client.sequenceId - 1;
  server.write(response);
  for (;;) {
    const answer = await server.read();
    client.sequenceId = server.sequenceId - 1;
    const agreedWithBackend = agreed(asked, greeting);
    if (answer[0] === 0) {
      const agreedWithClient = agreed({ ...clientCan, capabilities: (clientCan.capabilities & ~hidden) >>> 0 }, greeting);
      client.write(Buffer.from([0, 0, 0, 2, 0, 0, 0]));
      const rest = client.release();
      server.release();
      const made = {
        backend: backendAt(backendPort), channel: backendChannel, capabilities: agreedWithBackend, threadId: greeting.connectionId, serverVersion: greeting.serverVersion, collation: response[8]!,
        statusFlags: decodeOk(answer, agreedWithBackend.capabilities).statusFlags,
      };
      return {
        backend: new BackendConnection(made as unknown as ConstructorParameters<typeof BackendConnection>[0]),
        client: { channel, capabilities: agreedWithClient, user: 'root', database: '', collation: response[8]!, attributes: [], address: '127.0.0.1', remotePort: channel.remotePort, port: channel.localPort, tls: false, rest },
      };
    }
    client.write(answer);
    if (answer[0] === 0xff) throw new Error('refused');
    const reply = await client.read();
    server.sequenceId = client.sequenceId - 1;
    server.write(reply);
  }
}

function read(response: Buffer): Capabilities {
  const capabilities = response.readUInt32LE(0);
  return { capabilities, mariadbCapabilities: has(capabilities, Capability.mysql) ? 0 : response.readUInt32LE(28) };
}
