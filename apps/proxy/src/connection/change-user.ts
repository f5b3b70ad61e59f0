import { Capability, has } from '@binnacle/mysql-wire/capabilities';
import { encodeErr, errHeader, type ErrPacket } from '@binnacle/mysql-wire/err-packet';
import { decodeChangeUser, encodeChangeUser } from '@binnacle/mysql-wire/handshake';
import { okHeader } from '@binnacle/mysql-wire/ok-packet';
import { AuthenticationRounds, nobodysPlugin } from './authentication-rounds.js';
import type { BackendConnection } from './backend-connection.js';
import type { LoggedInClient } from './client-connection.js';
import type { Credential, Credentials } from './credentials.js';
import { Deadline } from './deadline.js';
import { oldClient, okFor } from './login.js';
import { ConnectionLost, MysqlError } from './mysql-error.js';
import { PacketPort } from './packet-port.js';
import { leaveLogin } from './refused-login.js';
import { errorOf } from './result-reader.js';

export interface ChangedUser {
  readonly user: string;
  /** Empty: none. */
  readonly database: string;
  /** 0: not said, the server's own. */
  readonly collation: number;
  readonly attributes: readonly (readonly [name: string, value: string])[];
  readonly credential: Credential | undefined;
}

/** `refused`: by the server, which resets a session before it asks who comes. Undefined: by the proxy, before the server heard of it. */
export type UserChange = ChangedUser | 'refused' | undefined;

export interface ChangeOptions {
  readonly credentials: Credentials;
  readonly timeoutMs: number;
  /** Why the proxy does not want this user here; asked before the server is. */
  readonly refusal?: (user: string) => ErrPacket | undefined;
}

const packetBytesMax = 131_072;

/**
 * COM_CHANGE_USER, `payload` with its code, at a command boundary of both sides. Takes the callbacks of both channels, and leaves both channels to
 * nobody, paused, when it is done. The client has its answer then, OK or ERR.
 * Rejects when one side is gone or broken, or at the deadline.
 */
export async function changeUser(client: LoggedInClient, backend: BackendConnection, payload: Buffer, options: ChangeOptions): Promise<UserChange> {
  const { timeoutMs } = options;
  const deadline = new Deadline(timeoutMs, () => new ConnectionLost(`no change of the user within ${timeoutMs} ms`));
  const change = new Change(client, backend, deadline);
  try {
    return await change.run(payload, options);
  } catch (error) {
    if (!(error instanceof MysqlError)) throw error;
    change.refuse(error);
    return change.refused ? 'refused' : undefined;
  } finally {
    deadline.over();
    await change.leave();
    change.release();
  }
}

/** The rounds of one COM_CHANGE_USER. */
class Change {
  readonly #asking: PacketPort;
  readonly #deciding: PacketPort;
  /** The server waits for the client: whatever it is sent next it takes for the reply. */
  #open = false;
  /** The server has had no answer since it said what it said last, if this is still the next id. */
  #heardAt = -1;
  /** By the server. */
  refused = false;

  constructor(
    private readonly client: LoggedInClient,
    private readonly backend: BackendConnection,
    deadline: Deadline,
  ) {
    this.#asking = new PacketPort(client.channel, 'the client', packetBytesMax);
    this.#asking.sequenceId = 1;
    this.#deciding = new PacketPort(backend.channel, backend.backend.id, packetBytesMax);
    deadline.watch(this.#asking);
    deadline.watch(this.#deciding);
  }

  async run(payload: Buffer, { credentials, refusal }: ChangeOptions): Promise<ChangedUser> {
    const { client, backend } = this;
    const { capabilities } = client.capabilities;
    if (!has(capabilities, Capability.pluginAuth)) throw oldClient();
    const wanted = decodeChangeUser(payload, capabilities);
    const unwanted = refusal?.(wanted.user);
    if (unwanted !== undefined) throw new MysqlError(unwanted, unwanted.message);
    const collation = wanted.collation ?? backend.collation;
    // The client's reply was computed from another server's scramble, or from ours: a plugin that no account has makes the server ask again.
    const question = { ...wanted, collation, authPlugin: nobodysPlugin, authResponse: Buffer.alloc(0), attributes: wanted.attributes ?? [] };
    this.#open = true;
    this.#deciding.write(encodeChangeUser(question, backend.capabilities.capabilities));
    const rounds = new AuthenticationRounds(this.#asking, { packets: this.#deciding, secure: backend.channel.secure, next: () => this.#next() });
    const ok = await rounds.run();
    const { user, database, attributes } = wanted;
    const credential = await rounds.credential(credentials, backend.backend, user);
    this.#asking.write(okFor(ok, backend.capabilities, client.capabilities));
    return { user, database, collation: wanted.collation ?? 0, attributes: attributes ?? [], credential };
  }

  async #next(): Promise<Buffer> {
    const payload = await this.#deciding.read();
    this.#heardAt = this.#deciding.sequenceId;
    this.#open = payload[0] !== errHeader && payload[0] !== okHeader;
    if (payload[0] !== errHeader) return payload;
    this.refused = true;
    throw errorOf(payload);
  }

  /** By the server, or by the proxy in the middle of its rounds. */
  refuse(error: MysqlError): void {
    this.#asking.write(encodeErr(error, error.message));
  }

  /** Where the server still waits, its connection is of no use to the session any more. */
  async leave(): Promise<void> {
    if (!this.#open) return;
    if (this.backend.kind !== 'tidb') await leaveLogin(this.#deciding, this.#deciding.sequenceId === this.#heardAt);
    this.backend.channel.destroy();
  }

  release(): void {
    // Nobody may speak before the answer is there; and whoever owns the channels next would not hear that a peer has gone.
    if (this.#deciding.unread.length > 0 || this.#deciding.ended) this.backend.channel.destroy();
    if (this.#asking.unread.length > 0 || this.#asking.ended) this.client.channel.destroy();
    this.#deciding.release();
    this.#asking.release();
  }
}
