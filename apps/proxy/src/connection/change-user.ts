import { Capability, has } from '@binnacle/mysql-wire/capabilities';
import { encodeErr, errHeader } from '@binnacle/mysql-wire/err-packet';
import { decodeChangeUser, encodeChangeUser } from '@binnacle/mysql-wire/handshake';
import { AuthenticationRounds, nobodysPlugin } from './authentication-rounds.js';
import type { BackendConnection } from './backend-connection.js';
import type { LoggedInClient } from './client-connection.js';
import type { Credential, Credentials } from './credentials.js';
import { Deadline } from './deadline.js';
import { oldClient, okFor } from './login.js';
import { ConnectionLost, MysqlError } from './mysql-error.js';
import { PacketPort } from './packet-port.js';
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

const packetBytesMax = 131_072;

/**
 * COM_CHANGE_USER, `payload` with its code, at a command boundary of both sides. Takes the callbacks of both channels, and leaves both channels to
 * nobody, paused, when it is done. The client has its answer then, OK or ERR.
 * Resolves with undefined where that is an ERR; rejects when one side is gone or broken, or at the deadline.
 */
export async function changeUser(
  client: LoggedInClient,
  backend: BackendConnection,
  payload: Buffer,
  { credentials, timeoutMs }: { readonly credentials: Credentials; readonly timeoutMs: number },
): Promise<ChangedUser | undefined> {
  const asking = new PacketPort(client.channel, 'the client', packetBytesMax);
  const deciding = new PacketPort(backend.channel, backend.backend.id, packetBytesMax);
  const deadline = new Deadline(timeoutMs, () => new ConnectionLost(`no change of the user within ${timeoutMs} ms`));
  deadline.watch(asking);
  deadline.watch(deciding);
  asking.sequenceId = 1;
  try {
    return await change(client, backend, asking, deciding, payload, credentials);
  } catch (error) {
    if (!(error instanceof MysqlError)) throw error;
    asking.write(encodeErr(error, error.message));
    return undefined;
  } finally {
    deadline.over();
    // Nobody may speak before the answer is there; and whoever owns the channels next would not hear that a peer has gone.
    if (deciding.unread.length > 0 || deciding.ended) backend.channel.destroy();
    if (asking.unread.length > 0 || asking.ended) client.channel.destroy();
    deciding.release();
    asking.release();
  }
}

async function change(
  client: LoggedInClient, backend: BackendConnection, asking: PacketPort, deciding: PacketPort, payload: Buffer, credentials: Credentials,
): Promise<ChangedUser> {
  const { capabilities } = client.capabilities;
  if (!has(capabilities, Capability.pluginAuth)) throw oldClient();
  const wanted = decodeChangeUser(payload, capabilities);
  const collation = wanted.collation ?? backend.collation;
  // The client's reply was computed from another server's scramble, or from ours: a plugin that no account has makes the server ask again.
  const question = { ...wanted, collation, authPlugin: nobodysPlugin, authResponse: Buffer.alloc(0), attributes: wanted.attributes ?? [] };
  deciding.write(encodeChangeUser(question, backend.capabilities.capabilities));
  const rounds = new AuthenticationRounds(asking, { packets: deciding, secure: backend.channel.secure, next: () => next(deciding) });
  const ok = await rounds.run();
  const { user, database, attributes } = wanted;
  const credential = await rounds.credential(credentials, backend.backend, user);
  asking.write(okFor(ok, backend.capabilities, client.capabilities));
  return { user, database, collation: wanted.collation ?? 0, attributes: attributes ?? [], credential };
}

async function next(deciding: PacketPort): Promise<Buffer> {
  const payload = await deciding.read();
  if (payload[0] === errHeader) throw errorOf(payload);
  return payload;
}
