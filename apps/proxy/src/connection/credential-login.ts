import {
  cachingSha2Password, encryptPassword, fastSucceeded, fullRequired, publicKeyRequest, sha2Reply, sha2Stage1,
} from '@binnacle/mysql-wire/auth/caching-sha2-password';
import { clearPassword, clearReply } from '@binnacle/mysql-wire/auth/clear-password';
import { nativePassword, nativeReply, nativeStage1 } from '@binnacle/mysql-wire/auth/native-password';
import { sessionTokenReply, tidbSessionToken } from '@binnacle/mysql-wire/auth/session-token';
import { authMoreDataHeader, authSwitchHeader, decodeAuthMoreData, decodeAuthSwitch } from '@binnacle/mysql-wire/auth-packets';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import { okHeader } from '@binnacle/mysql-wire/ok-packet';
import type { Credential } from './credentials.js';
import type { BackendAccount, GreetedBackend } from './greeted-backend.js';
import { ConnectionLost, MysqlError } from './mysql-error.js';
import type { PacketPort } from './packet-port.js';

/** A server in the middle of a login. */
export interface AskingServer {
  readonly packets: PacketPort;
  /** Nobody on the way can read what it is told. */
  readonly secure: boolean;
  /** The next packet; rejects with `MysqlError` when the server refuses. */
  next(): Promise<Buffer>;
}

/** Rounds that no plugin known here needs; a server that goes on is not one. */
const roundsMax = 16;

/** Logs in with a secret that the proxy has, without a client. Gives the payload of the server's OK. */
export async function credentialLogin(greeted: GreetedBackend, account: BackendAccount, credential: Credential): Promise<Buffer> {
  let plugin = firstPlugin(greeted.handshake.authPlugin, credential);
  let { scramble } = greeted.handshake;
  await greeted.respond(account, plugin, replyTo(plugin, scramble, false, credential));
  for (let round = 0; round < roundsMax; round++) {
    const payload = await greeted.next();
    if (payload[0] === okHeader) return payload;
    if (payload[0] === authSwitchHeader) {
      ({ plugin, data: scramble } = decodeAuthSwitch(payload));
      greeted.packets.write(replyTo(plugin, scramble, greeted.trusted, credential));
    } else if (payload[0] === authMoreDataHeader && plugin === cachingSha2Password) {
      await continueSha2(greeted, decodeAuthMoreData(payload), scramble, credential);
    } else throw new CannotLogIn(plugin);
  }
  throw new ConnectionLost(`${greeted.backend.id} does not come to an end with the login`);
}

function firstPlugin(offeredFirst: string, credential: Credential): string {
  if (credential.kind === 'tidb-token') return tidbSessionToken;
  return credential.kind === 'password' && offeredFirst === cachingSha2Password ? cachingSha2Password : nativePassword;
}

/** The account has a plugin for which the proxy has not the right secret. */
export class CannotLogIn extends MysqlError {
  constructor(plugin: string) {
    super(Errors.unsupportedAuthentication, `the proxy has no secret with which to log in where ${plugin} is asked for`);
  }
}

/** @param trusted nobody asks this client's user whether the password may be told as it is: it is told to a server whose certificate was checked, and to no other */
function replyTo(plugin: string, scramble: Buffer, trusted: boolean, credential: Credential): Buffer {
  if (credential.kind === 'tidb-token' && plugin === tidbSessionToken) return sessionTokenReply(credential.token);
  if (credential.kind === 'native' && plugin === nativePassword) return nativeReply(credential.stage1, scramble);
  if (credential.kind !== 'password') throw new CannotLogIn(plugin);
  const { password } = credential;
  if (plugin === clearPassword && trusted) return clearReply(password);
  if (plugin !== nativePassword && plugin !== cachingSha2Password) throw new CannotLogIn(plugin);
  if (password === '') return Buffer.alloc(0);
  return plugin === nativePassword ? nativeReply(nativeStage1(password), scramble) : sha2Reply(sha2Stage1(password), scramble);
}

async function continueSha2(greeted: GreetedBackend, data: Buffer, scramble: Buffer, credential: Credential): Promise<void> {
  if (data.equals(fastSucceeded)) return;
  if (!data.equals(fullRequired) || credential.kind !== 'password') throw new CannotLogIn(cachingSha2Password);
  await sendPasswordFully(greeted, credential.password, scramble);
}

/** Full authentication of caching_sha2_password: over TLS as it is, otherwise by the server's public key. */
export async function sendPasswordFully(server: AskingServer, password: string, scramble: Buffer): Promise<void> {
  if (server.secure) return server.packets.write(clearReply(password));
  server.packets.write(publicKeyRequest);
  const key = decodeAuthMoreData(await server.next());
  let encrypted: Buffer;
  try {
    encrypted = encryptPassword(password, scramble, key);
  } catch (cause) {
    throw new ConnectionLost('the server sent a public key that is none', { cause });
  }
  server.packets.write(encrypted);
}
