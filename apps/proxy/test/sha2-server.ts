import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { type SecureContext } from 'node:tls';
import { cachingSha2Password, decryptPassword, fastSucceeded, fullRequired, newRsaKeys, publicKeyRequest, sha2Stage1, verifySha2 } from '@binnacle/mysql-wire/auth/caching-sha2-password';
import { parseClearReply } from '@binnacle/mysql-wire/auth/clear-password';
import { digest, newScramble } from '@binnacle/mysql-wire/auth/scramble';
import { encodeAuthMoreData, encodeAuthSwitch } from '@binnacle/mysql-wire/auth-packets';
import { Capability } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';
import { encodeErr } from '@binnacle/mysql-wire/err-packet';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import { decodeChangeUser, decodeHandshakeResponse, encodeHandshake, isSslRequest } from '@binnacle/mysql-wire/handshake';
import { encodeOk } from '@binnacle/mysql-wire/ok-packet';
import type { ByteChannel } from '../src/connection/byte-channel.js';
import { PacketPort } from '../src/connection/packet-port.js';
import { PlainChannel } from '../src/connection/plain-channel.js';
import { TlsChannel } from '../src/connection/tls-channel.js';

const offered =
  Capability.mysql | Capability.longFlag | Capability.protocol41 | Capability.secureConnection | Capability.pluginAuth | Capability.pluginAuthLenenc | Capability.connectWithDatabase |
  Capability.connectAttributes | Capability.transactions | Capability.multiStatements | Capability.multiResults | Capability.psMultiResults | Capability.sessionTrack | Capability.deprecateEof;

/**
 * MySQL 8.4 as far as a login goes, for one account of caching_sha2_password: its first login is a full one, the next ones are fast, unless `forget` is
 * called. Source: the page "Caching_sha2_password information" of MySQL's documentation of its source. Answers every command with OK.
 */
export class Sha2Server {
  /** What each login came to: `fast`, `full by TLS`, `full by RSA`, `wrong`. Empty replies, of who leaves it, are none. */
  readonly logins: string[] = [];
  #cached: Buffer | undefined;
  #keys!: Awaited<ReturnType<typeof newRsaKeys>>;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  /** @param tls absent: not offered */
  constructor(
    readonly password: string,
    private readonly tls?: SecureContext,
  ) {
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
      const channel = PlainChannel.accepted(socket);
      this.#sockets.add(channel.socket);
      this.#serve(channel).catch(() => channel.destroy());
    });
  }

  async listen(): Promise<number> {
    this.#keys = await newRsaKeys();
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** As after FLUSH PRIVILEGES. */
  forget(): void {
    this.#cached = undefined;
  }

  async #serve(plain: PlainChannel): Promise<void> {
    let packets = new PacketPort(plain, 'the client', 1_048_576);
    const scramble = newScramble();
    const capabilities = (offered | (this.tls ? Capability.ssl : 0)) >>> 0;
    packets.write(
      encodeHandshake({ serverVersion: '8.4.3', connectionId: 7, scramble, collation: 255, statusFlags: 2, authPlugin: cachingSha2Password, capabilities, mariadbCapabilities: 0 }),
    );
    let payload = await packets.read();
    if (isSslRequest(payload)) {
      const { sequenceId } = packets;
      const channel = await TlsChannel.accept(plain, Buffer.from(packets.release()), { context: this.tls!, requestCertificate: false });
      packets = new PacketPort(channel, 'the client', 1_048_576);
      packets.sequenceId = sequenceId;
      payload = await packets.read();
    }
    const response = decodeHandshakeResponse(payload);
    if (!(await this.#authenticated(packets, packets.channel, response.authPlugin, response.authResponse, scramble))) return;
    packets.write(encodeOk({}, response.capabilities));
    for (;;) {
      packets.sequenceId = 0;
      payload = await packets.read();
      if (payload[0] === Command.quit) return plain.destroy();
      if (payload[0] === Command.changeUser) {
        const change = decodeChangeUser(payload, response.capabilities);
        if (!(await this.#authenticated(packets, packets.channel, change.authPlugin, change.authResponse, scramble))) return;
      }
      packets.write(encodeOk({}, response.capabilities));
    }
  }

  async #authenticated(packets: PacketPort, { secure }: ByteChannel, plugin: string | undefined, first: Buffer, greeted: Buffer): Promise<boolean> {
    let [reply, scramble] = [first, greeted];
    if (plugin !== cachingSha2Password) {
      scramble = newScramble();
      packets.write(encodeAuthSwitch({ plugin: cachingSha2Password, data: scramble }));
      reply = await packets.read();
    }
    if (this.#cached !== undefined && verifySha2(reply, scramble, this.#cached) !== undefined) {
      this.logins.push('fast');
      packets.write(encodeAuthMoreData(fastSucceeded));
      return true;
    }
    if (reply.length === 0) return refuse(packets);
    packets.write(encodeAuthMoreData(fullRequired));
    let answer = await packets.read();
    if (!secure && answer.equals(publicKeyRequest)) {
      packets.write(encodeAuthMoreData(this.#keys.publicKeyPem));
      answer = await packets.read();
    }
    if (answer.length === 0) return refuse(packets);
    const password = secure ? parseClearReply(answer) : decryptPassword(answer, scramble, this.#keys.privateKey);
    const right = password === this.password;
    this.logins.push(right ? `full by ${secure ? 'TLS' : 'RSA'}` : 'wrong');
    if (right) this.#cached = digest('sha256', sha2Stage1(password));
    return right || refuse(packets);
  }
}

function refuse(packets: PacketPort): false {
  packets.finish(encodeErr(Errors.accessDenied, 'Access denied'));
  return false;
}
