import { isIP } from 'node:net';
import type { SecureContext } from 'node:tls';
import { Capability, has, type Capabilities } from '@binnacle/mysql-wire/capabilities';
import { decodeHandshake, encodeHandshakeResponse, encodeSslRequest, type Handshake, type HandshakeResponse } from '@binnacle/mysql-wire/handshake';
import { errHeader } from '@binnacle/mysql-wire/err-packet';
import { decodeOkHead, okHeader } from '@binnacle/mysql-wire/ok-packet';
import { packetBytesMaxDefault } from '@binnacle/mysql-wire/packet-scanner';
import { encodeProxyHeader, type ProxyHeader } from '@binnacle/mysql-wire/proxy-protocol';
import type { Backend } from '../backends/backend.js';
import { askedOf, canLogIn, canServe } from './agreement.js';
import { kindOf, type LoggedIn } from './backend-connection.js';
import type { ByteChannel, Keepalive } from './byte-channel.js';
import { CompressedChannel } from './compressed-channel.js';
import { Deadline } from './deadline.js';
import { BadPacket, ConnectionLost } from './mysql-error.js';
import { PacketPort } from './packet-port.js';
import { PlainChannel } from './plain-channel.js';
import { leaveLogin, respondAsNobody } from './refused-login.js';
import { errorOf } from './result-reader.js';
import { TlsChannel } from './tls-channel.js';

export interface BackendTls {
  /** `preferred`: where the server offers it. */
  readonly mode: 'required' | 'preferred' | 'off';
  /** Made once for all connections: it is dear. */
  readonly context?: SecureContext;
  /** Whether the server's certificate must be one that the context's `ca` knows, for this host. */
  readonly verify: boolean;
}

/** What every connection to a backend begins with. */
export interface BackendDial {
  readonly tls: BackendTls;
  /** Sent before everything else. */
  readonly proxyHeader?: ProxyHeader | undefined;
  /** For connecting and the greeting: a server that hangs shall leave time for another one. Absent: all the time there is. */
  readonly greetingTimeoutMs?: number | undefined;
  /** Absent: off. */
  readonly keepalive?: Keepalive | undefined;
  /** Asked for where the server has it. */
  readonly compression?: 'zlib' | 'zstd' | undefined;
}

/** Who logs in. */
export interface BackendAccount {
  readonly user: string;
  /** Empty: none. */
  readonly database: string;
  readonly collation: number;
  readonly attributes: readonly (readonly [name: string, value: string])[] | undefined;
  /** Wanted: the client's. What the connection itself needs is added, what belongs to one side only is taken away. */
  readonly capabilities: Capabilities;
}

/** A login packet, an RSA key, a token: none comes near. */
const packetBytesMax = 131_072;
/** Whose length fits into the byte before it. */
const shortReplyBytesMax = 250;

/** A backend that has greeted, until it lets us in. */
export class GreetedBackend {
  readonly backend: Backend;
  readonly handshake: Handshake;
  packets: PacketPort;
  readonly #dial: BackendDial;
  readonly #deadline: Deadline;
  readonly #plain: PlainChannel;
  #channel: ByteChannel;
  #capabilities: Capabilities = { capabilities: 0, mariadbCapabilities: 0 };
  #collation = 0;
  #stage: 'greeted' | 'answering' | 'over' = 'greeted';
  /** The server has had no answer since it said what it said last, if this is still the next id. */
  #heardAt = -1;

  private constructor(backend: Backend, dial: BackendDial, deadline: Deadline, plain: PlainChannel, packets: PacketPort, handshake: Handshake) {
    this.backend = backend;
    this.#dial = dial;
    this.#deadline = deadline;
    this.#plain = plain;
    this.#channel = plain;
    this.packets = packets;
    this.handshake = handshake;
  }

  /** Rejects with `MysqlError` for a server that refuses at once (too many connections, a blocked host), and with `ConnectionLost`. */
  static async dial(backend: Backend, dial: BackendDial, deadline: Deadline): Promise<GreetedBackend> {
    const { greetingTimeoutMs } = dial;
    const timeoutMs = Math.min(deadline.leftMs, greetingTimeoutMs ?? Infinity);
    const late = (): Error => new ConnectionLost(`${backend.id} did not greet within ${greetingTimeoutMs} ms`);
    const greeting = greetingTimeoutMs === undefined ? undefined : new Deadline(greetingTimeoutMs, late);
    const plain = await PlainChannel.dial({ host: backend.host, port: backend.port, timeoutMs }).catch((cause: Error) => {
      greeting?.over();
      throw new ConnectionLost(`${backend.id} cannot be reached: ${cause.message}`, { cause });
    });
    if (dial.keepalive !== undefined) plain.keepAlive(dial.keepalive);
    if (dial.proxyHeader !== undefined) plain.write(encodeProxyHeader(dial.proxyHeader));
    const packets = new PacketPort(plain, backend.id, packetBytesMax);
    deadline.watch(packets);
    greeting?.watch(packets);
    try {
      const handshake = decodeHandshake(await read(packets));
      greeting?.unwatch(packets);
      if (!canLogIn(handshake)) throw new ConnectionLost(`${backend.id} is older than what can be logged in to`);
      return new GreetedBackend(backend, dial, deadline, plain, packets, handshake);
    } catch (error) {
      deadline.unwatch(packets);
      plain.destroy();
      throw error;
    } finally {
      greeting?.over();
    }
  }

  /** Whether nobody on the way can read what is said from the response on. */
  get secure(): boolean {
    return this.#channel.secure;
  }

  /** It is also known who it is that reads it. */
  get trusted(): boolean {
    return this.secure && this.#dial.tls.verify;
  }

  /** Goes over to TLS as configured, and answers the greeting. */
  async respond(account: BackendAccount, authPlugin: string, authResponse: Buffer): Promise<void> {
    const { handshake, backend } = this;
    if (!canServe(handshake, account.capabilities)) throw new ConnectionLost(`${backend.id} cannot do all that the client was promised`);
    this.#capabilities = askedOf(handshake, account.capabilities, account.attributes !== undefined);
    this.#collation = account.collation;
    const secured = this.#wantsTls();
    const compression = this.#compression();
    const capabilities =
      this.#capabilities.capabilities |
      (secured ? Capability.ssl : 0) |
      (compression === undefined ? 0 : compressionBit[compression]) |
      (account.database === '' ? 0 : Capability.connectWithDatabase);
    const request = { ...this.#capabilities, capabilities: capabilities >>> 0, packetBytesMax: packetBytesMaxDefault, collation: account.collation };
    if (secured) {
      // Until there is TLS nobody can answer the server.
      this.#stage = 'over';
      this.packets.write(encodeSslRequest(request));
      await this.#secure();
    }
    // TiDB does not offer the long form, and understands it: its tokens need it. A short reply is written the same in both.
    const written = (request.capabilities | (authResponse.length > shortReplyBytesMax ? Capability.pluginAuthLenenc : 0)) >>> 0;
    const response: HandshakeResponse = {
      ...request, capabilities: written, user: account.user, authResponse, database: account.database, authPlugin, attributes: account.attributes, zstdLevel: undefined,
    };
    this.packets.write(encodeHandshakeResponse(response));
    this.#stage = 'answering';
  }

  #wantsTls(): boolean {
    const { mode } = this.#dial.tls;
    if (mode === 'off') return false;
    const can = has(this.handshake.capabilities, Capability.ssl);
    if (!can && mode === 'required') throw new ConnectionLost(`${this.backend.id} does not offer TLS, which is required`);
    return can;
  }

  #compression(): 'zlib' | 'zstd' | undefined {
    const { compression } = this.#dial;
    return compression !== undefined && has(this.handshake.capabilities, compressionBit[compression]) ? compression : undefined;
  }

  async #secure(): Promise<void> {
    const { sequenceId } = this.packets;
    const plain = this.#plain;
    const upgrade = { fail: () => plain.destroy() };
    this.#deadline.unwatch(this.packets);
    // A server that speaks before TLS says what anybody on the way could have put in.
    if (this.packets.release().length > 0) throw new ConnectionLost(`${this.backend.id} went on speaking before TLS`);
    this.#deadline.watch(upgrade);
    const { context, verify } = this.#dial.tls;
    const { host } = this.backend;
    const options = { host, ...(context && { secureContext: context }), rejectUnauthorized: verify, ...(isIP(host) === 0 && { servername: host }) };
    try {
      this.#channel = await TlsChannel.connect(plain, options);
    } catch (cause) {
      throw this.#deadline.error ?? new ConnectionLost(`no TLS with ${this.backend.id}: ${(cause as Error).message}`, { cause });
    } finally {
      this.#deadline.unwatch(upgrade);
    }
    this.packets = new PacketPort(this.#channel, this.backend.id, packetBytesMax);
    this.packets.sequenceId = sequenceId;
    this.#deadline.watch(this.packets);
  }

  /** The next packet of the login. Rejects with `MysqlError` when the server refuses. */
  async next(): Promise<Buffer> {
    try {
      const payload = await read(this.packets);
      this.#heardAt = this.packets.sequenceId;
      if (payload[0] === okHeader) this.#stage = 'over';
      return payload;
    } catch (error) {
      if (this.#deadline.error === undefined) this.#stage = 'over';
      throw error;
    }
  }

  /** @param ok the payload that let us in */
  finish(ok: Buffer): LoggedIn {
    this.#deadline.unwatch(this.packets);
    if (this.packets.release().length > 0) throw new ConnectionLost(`${this.backend.id} went on speaking behind the login`);
    const compression = this.#compression();
    return {
      backend: this.backend,
      channel: compression === undefined ? this.#channel : new CompressedChannel(this.#channel, compression, 'client'),
      capabilities: this.#capabilities,
      threadId: this.handshake.connectionId,
      serverVersion: this.handshake.serverVersion,
      collation: this.#collation,
      statusFlags: decodeOkHead(ok).statusFlags,
    };
  }

  /** Also in the middle of a login, which the server then gets to refuse; not TiDB, which would log it and counts nothing. */
  giveUp(): void {
    const { packets, handshake } = this;
    this.#deadline.unwatch(packets);
    if (this.#stage === 'over' || this.#channel.closed || kindOf(handshake.serverVersion) === 'tidb') {
      packets.release();
      this.#channel.destroy();
      return;
    }
    if (this.#stage === 'greeted') respondAsNobody(packets, handshake);
    void leaveLogin(packets, packets.sequenceId === this.#heardAt);
  }
}

/** What a server does wrong is not for the client's ears. */
async function read(packets: PacketPort): Promise<Buffer> {
  const payload = await packets.read().catch((cause: Error) => {
    throw cause instanceof BadPacket ? new ConnectionLost(`the server says what it should not: ${cause.message}`, { cause }) : cause;
  });
  if (payload[0] === errHeader) throw errorOf(payload);
  return payload;
}

const compressionBit = { zlib: Capability.compress, zstd: Capability.zstdCompression } as const;
