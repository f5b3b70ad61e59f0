import { cachingSha2Password, fastSucceeded } from '@binnacle/mysql-wire/auth/caching-sha2-password';
import { encodeAuthMoreData } from '@binnacle/mysql-wire/auth-packets';
import { Capability, has, type Capabilities } from '@binnacle/mysql-wire/capabilities';
import type { ErrPacket } from '@binnacle/mysql-wire/err-packet';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import { decodeOkHead, encodeOk, rawSessionChanges } from '@binnacle/mysql-wire/ok-packet';
import type { Backend } from '../backends/backend.js';
import { AuthenticationRounds, nobodysPlugin } from './authentication-rounds.js';
import { BackendConnection } from './backend-connection.js';
import type { ClientConnection, LoggedInClient } from './client-connection.js';
import { CannotLogIn, credentialLogin } from './credential-login.js';
import { isEmptyReply, type Credential, type Credentials } from './credentials.js';
import { Deadline } from './deadline.js';
import { GreetedBackend, type BackendAccount, type BackendDial } from './greeted-backend.js';
import { BadPacket, ConnectionLost, MysqlError } from './mysql-error.js';

export interface LoginOptions extends BackendDial {
  readonly credentials: Credentials;
  /** For the connection to the backend and all rounds together. */
  readonly timeoutMs: number;
}

export interface Login {
  readonly client: LoggedInClient;
  readonly backend: BackendConnection;
  /** What can log this user in again elsewhere; undefined: nothing can. */
  readonly credential: Credential | undefined;
}

/** A login that failed. */
export class LoginError extends Error {
  override readonly name = 'LoginError';

  constructor(
    cause: Error,
    /** What the client is told. */
    readonly error: ErrPacket,
    /** Nothing was said to the client: another backend may be tried with the same one, or `refuse` be called. Otherwise it has been told and closed. */
    readonly retryable: boolean,
  ) {
    super(cause.message, { cause });
  }
}

/** Logs the client in at the backend. Rejects with `LoginError` only. */
export async function login(client: ClientConnection, backend: Backend, options: LoginOptions): Promise<Login> {
  const deadline = new Deadline(options.timeoutMs, () => new ConnectionLost(`no login at ${backend.id} within ${options.timeoutMs} ms`));
  const attempt = new Attempt(client, backend, options, deadline);
  deadline.watch(client.packets);
  try {
    return await attempt.run();
  } catch (cause) {
    throw attempt.failed(cause as Error);
  } finally {
    deadline.unwatch(client.packets);
    deadline.over();
  }
}

/** One client at one backend. */
class Attempt {
  /** Once the backend has greeted. */
  #greeted: GreetedBackend | undefined;
  #rounds: AuthenticationRounds | undefined;

  constructor(
    private readonly client: ClientConnection,
    private readonly backend: Backend,
    private readonly options: LoginOptions,
    private readonly deadline: Deadline,
  ) {}

  async run(): Promise<Login> {
    const { client } = this;
    const { user, authPlugin, scramble, response } = client;
    const known = this.options.credentials.provenBy(user, authPlugin, scramble, response.authResponse);
    const own = known && (await this.#byProxy(known));
    const { ok, credential } = own ?? (await this.#passThrough());
    // Whoever owns the channel next would not hear of it.
    if (client.closed) throw new ConnectionLost('the client has gone');
    const backend = new BackendConnection(this.#greeted!.finish(ok));
    if (own !== undefined && authPlugin === cachingSha2Password && !isEmptyReply(authPlugin, response.authResponse)) {
      client.packets.write(encodeAuthMoreData(fastSucceeded));
    }
    client.packets.write(okFor(ok, backend.capabilities, client.capabilities));
    return { client: client.finish(), backend, credential };
  }

  async #dial(): Promise<GreetedBackend> {
    this.#greeted?.giveUp();
    this.#greeted = undefined;
    return (this.#greeted = await GreetedBackend.dial(this.backend, this.options, this.deadline));
  }

  /** The client has shown us what the backend wants to see. Undefined if the account there has a plugin of which that is not enough. */
  async #byProxy(credential: Credential): Promise<{ ok: Buffer; credential: Credential } | undefined> {
    try {
      return { ok: await credentialLogin(await this.#dial(), this.#account, credential), credential };
    } catch (error) {
      if (error instanceof CannotLogIn) return undefined;
      throw error;
    }
  }

  async #passThrough(): Promise<{ ok: Buffer; credential: Credential | undefined }> {
    const { client, options } = this;
    const greeted = await this.#dial();
    if (!has(client.response.capabilities, Capability.pluginAuth)) throw oldClient();
    await greeted.respond(this.#account, nobodysPlugin, Buffer.alloc(0));
    this.#rounds = new AuthenticationRounds(client.packets, greeted);
    const ok = await this.#rounds.run();
    return { ok, credential: await this.#rounds.credential(options.credentials, this.backend, client.user) };
  }

  get #account(): BackendAccount {
    const { user, database, response, capabilities } = this.client;
    return { user, database, collation: response.collation, attributes: response.attributes, capabilities };
  }

  /** Another backend may be tried unless the client was asked something, is at fault, or the server has decided. */
  failed(cause: Error): LoginError {
    const { client } = this;
    const decided = client.closed || cause instanceof BadPacket || this.#rounds?.asked === true || (cause instanceof MysqlError && this.#greeted !== undefined);
    this.#greeted?.giveUp();
    const error = new LoginError(cause, told(cause), !decided);
    if (decided) client.refuse(error.error);
    return error;
  }
}

export function oldClient(): MysqlError {
  return new MysqlError(Errors.unsupportedAuthentication, 'Client does not support authentication protocol requested by server; consider upgrading MySQL client');
}

function told(cause: Error): ErrPacket {
  if (cause instanceof MysqlError) return cause;
  if (cause instanceof BadPacket) return { ...cause.error, message: cause.message };
  return { ...Errors.unknown, message: cause.message };
}

/** A server's OK in the words of a client. */
export function okFor(ok: Buffer, server: Capabilities, client: Capabilities): Buffer {
  const changes = has(server.capabilities, Capability.sessionTrack) ? rawSessionChanges(ok) : undefined;
  return encodeOk(decodeOkHead(ok), client.capabilities, changes);
}
