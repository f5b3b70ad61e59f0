import { cachingSha2Password, decryptPassword, fastSucceeded, fullRequired, newRsaKeys, publicKeyRequest } from '@binnacle/mysql-wire/auth/caching-sha2-password';
import { clearPassword, parseClearReply } from '@binnacle/mysql-wire/auth/clear-password';
import { authMoreDataHeader, authSwitchHeader, decodeAuthMoreData, decodeAuthSwitch, encodeAuthMoreData } from '@binnacle/mysql-wire/auth-packets';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import { okHeader } from '@binnacle/mysql-wire/ok-packet';
import type { Backend } from '../backends/backend.js';
import { sendPasswordFully, type AskingServer } from './credential-login.js';
import { isEmptyReply, type Credential, type Credentials } from './credentials.js';
import { ConnectionLost, MysqlError } from './mysql-error.js';
import type { PacketPort } from './packet-port.js';

/** A plugin no account has: a server that is told it asks for the right one, by its own scramble. Clients understand only one such question in a login. */
export const nobodysPlugin = 'auth_unknown_plugin';

/** A dialogue may ask for several passwords. */
const roundsMax = 64;
/** Their replies are passwords as they are, so a client that has TLS counts on it all the way. */
const clearPlugins: ReadonlySet<string> = new Set([clearPassword, 'dialog']);
/** What is said depends on TLS at both ends, and is not translated. */
const sha256Password = 'sha256_password';

/** Made when the first client without TLS meets a server with TLS; kept for the life of the process. */
let keys: ReturnType<typeof newRsaKeys> | undefined;

/**
 * Passes what a server asks to the client and the client's replies to the server, whatever the plugin, until the server lets the user in. Where one of
 * the two has TLS and the other not, caching_sha2_password is translated.
 */
export class AuthenticationRounds {
  /** Whether the client has been asked anything. */
  asked = false;
  readonly #client: PacketPort;
  readonly #server: AskingServer;
  #plugin = '';
  #scramble: Buffer = Buffer.alloc(0);
  /** The first one to the plugin in question. */
  #reply: Buffer = Buffer.alloc(0);
  #password: string | undefined;

  constructor(client: PacketPort, server: AskingServer) {
    this.#client = client;
    this.#server = server;
  }

  /** Gives the payload of the server's OK. Rejects with `MysqlError` when the server, or the proxy, refuses. */
  async run(): Promise<Buffer> {
    for (let round = 0; round < roundsMax; round++) {
      const payload = await this.#server.next();
      if (payload[0] === okHeader) return payload;
      if (payload[0] === authSwitchHeader) await this.#switch(payload);
      else if (payload[0] === authMoreDataHeader && this.#plugin === cachingSha2Password) await this.#sha2(payload);
      else this.#server.packets.write(await this.#ask(payload));
    }
    throw new ConnectionLost('a login that does not come to an end');
  }

  /** What the rounds have shown, behind the server's OK: undefined where that logs nobody in elsewhere. */
  async credential(credentials: Credentials, backend: Backend, user: string): Promise<Credential | undefined> {
    if (isEmptyReply(this.#plugin, this.#reply)) return { kind: 'password', password: '' };
    if (this.#password !== undefined) return credentials.shown(user, this.#password);
    return credentials.acceptedBy(backend, user, this.#plugin, this.#scramble, this.#reply);
  }

  #ask(payload: Buffer): Promise<Buffer> {
    this.asked = true;
    this.#client.write(payload);
    return this.#client.read();
  }

  async #switch(payload: Buffer): Promise<void> {
    const { plugin, data } = decodeAuthSwitch(payload);
    this.#checkChannels(plugin);
    this.#plugin = plugin;
    this.#scramble = Buffer.from(data);
    this.#reply = await this.#ask(payload);
    this.#password = plugin === clearPassword ? parseClearReply(this.#reply) : undefined;
    this.#server.packets.write(this.#reply);
  }

  #checkChannels(plugin: string): void {
    const [clientSecure, serverSecure] = [this.#client.channel.secure, this.#server.secure];
    const betrayed = clearPlugins.has(plugin) && clientSecure && !serverSecure;
    if (betrayed || (plugin === sha256Password && clientSecure !== serverSecure)) {
      const why = betrayed ? 'the password would go on without it' : 'one side has it and the other has not';
      throw new MysqlError(Errors.secureTransportRequired, `Authentication plugin '${plugin}' needs TLS between proxy and server too: ${why}`);
    }
  }

  async #sha2(payload: Buffer): Promise<void> {
    const data = decodeAuthMoreData(payload);
    if (data.equals(fastSucceeded)) return this.#client.write(payload);
    if (!data.equals(fullRequired)) return this.#server.packets.write(await this.#ask(payload));
    const answer = await this.#ask(payload);
    if (this.#client.channel.secure) this.#password = parseClearReply(answer);
    else if (!this.#server.secure) return this.#server.packets.write(answer);
    else this.#password = await this.#decrypted(answer);
    // What cannot be read is no password: the server finds the empty one wrong, and says so in its words.
    await sendPasswordFully(this.#server, this.#password ?? '', this.#scramble);
  }

  /** The client has no TLS and the server has: it gets a key of ours. */
  async #decrypted(answer: Buffer): Promise<string | undefined> {
    const { privateKey, publicKeyPem } = await (keys ??= newRsaKeys());
    const encrypted = answer.equals(publicKeyRequest) ? await this.#ask(encodeAuthMoreData(publicKeyPem)) : answer;
    return decryptPassword(encrypted, this.#scramble, privateKey);
  }
}
