import { cachingSha2Password } from '@binnacle/mysql-wire/auth/caching-sha2-password';
import { nativePassword } from '@binnacle/mysql-wire/auth/native-password';
import { newScramble } from '@binnacle/mysql-wire/auth/scramble';
import type { Capabilities } from '@binnacle/mysql-wire/capabilities';
import { agreedCompression } from '@binnacle/mysql-wire/compression';
import { encodeErr, type ErrPacket } from '@binnacle/mysql-wire/err-packet';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import { decodeHandshakeResponse, decodeSslRequest, encodeHandshake, isSslRequest, type HandshakeResponse } from '@binnacle/mysql-wire/handshake';
import { StatusFlag } from '@binnacle/mysql-wire/status-flags';
import type { BackendGreeting } from '../backends/backend.js';
import { agreedWithClient, offered } from './agreement.js';
import type { ByteChannel } from './byte-channel.js';
import { CompressedChannel } from './compressed-channel.js';
import { Deadline } from './deadline.js';
import { BadPacket, ConnectionLost } from './mysql-error.js';
import { PacketPort } from './packet-port.js';
import type { PlainChannel } from './plain-channel.js';
import { readProxyHeader } from './proxy-header-reader.js';
import { TlsChannel, type ServerTls } from './tls-channel.js';

/** What is left of a client's login once it is done. */
export interface LoggedInClient {
  /** Decrypted and decompressed; paused, and its callbacks nobody's, until a session takes it over. */
  readonly channel: ByteChannel;
  /** Agreed upon with the client, compression and TLS left out. */
  readonly capabilities: Capabilities;
  readonly user: string;
  /** Empty: none. */
  readonly database: string;
  readonly collation: number;
  readonly attributes: readonly (readonly [name: string, value: string])[];
  /** Of the client itself, as the PROXY header says. */
  readonly address: string;
  readonly remotePort: number;
  /** Of our listener. */
  readonly port: number;
  readonly tls: boolean;
  /** Bytes already read behind the login. */
  readonly rest: Buffer;
}

export interface ClientOptions {
  /** Thread id in the greeting. */
  readonly connectionId: number;
  /** What the best backend greets with. */
  readonly greeting: BackendGreeting;
  /** Absent: TLS is not offered. */
  readonly tls?: ServerTls & { readonly required: boolean };
  /** A PROXY header, version 2, comes before everything else. */
  readonly proxyProtocol: boolean;
  /** For everything until the handshake response is here. */
  readonly timeoutMs: number;
}

/** A login packet or a token: none comes near. Attributes may have 64 KB. */
const packetBytesMax = 131_072;

const nothing = Buffer.alloc(0);

/** A client that has been greeted and has answered, until it is let in. */
export class ClientConnection {
  readonly port: number;
  readonly address: string;
  readonly remotePort: number;
  readonly capabilities: Capabilities;
  readonly response: HandshakeResponse;
  /** Of our greeting: what the response's reply was computed from. */
  readonly scramble: Buffer;
  readonly packets: PacketPort;

  constructor(greeting: Greeting, response: HandshakeResponse, capabilities: Capabilities) {
    this.packets = greeting.packets;
    this.scramble = greeting.scramble;
    this.address = greeting.source?.address ?? this.packets.channel.remoteAddress;
    this.remotePort = greeting.source?.port ?? this.packets.channel.remotePort;
    this.port = this.packets.channel.localPort;
    this.response = response;
    this.capabilities = capabilities;
  }

  get user(): string {
    return this.response.user;
  }

  /** Empty: none. */
  get database(): string {
    return this.response.database ?? '';
  }

  get attributes(): readonly (readonly [name: string, value: string])[] {
    return this.response.attributes ?? [];
  }

  /** What the reply in the response was made by. */
  get authPlugin(): string {
    return this.response.authPlugin ?? nativePassword;
  }

  get tls(): boolean {
    return this.packets.channel.secure;
  }

  /** Whether the client has gone meanwhile. */
  get closed(): boolean {
    return this.packets.ended;
  }

  /** Says the error and closes. */
  refuse(error: ErrPacket): void {
    refuse(this.packets, error);
  }

  /** Behind the login's OK. */
  finish(): LoggedInClient {
    const { packets, response } = this;
    const rest = packets.release();
    const compression = agreedCompression(response.capabilities);
    return {
      channel: compression === undefined ? packets.channel : new CompressedChannel(packets.channel, compression, 'server'),
      capabilities: this.capabilities,
      user: this.user,
      database: this.database,
      collation: response.collation,
      attributes: this.attributes,
      address: this.address,
      remotePort: this.remotePort,
      port: this.port,
      tls: this.tls,
      rest: rest.length === 0 ? nothing : Buffer.from(rest),
    };
  }
}

/** Says an error to a client that has been greeted, and closes. An error that a server said before its greeting has no SQLSTATE, and gets the one it has elsewhere. */
export function refuse(packets: PacketPort, { code, sqlState, message }: ErrPacket): void {
  const state = sqlState !== '' ? sqlState : (Object.values(Errors).find((known) => known.code === code)?.sqlState ?? Errors.unknown.sqlState);
  packets.finish(encodeErr({ code, sqlState: state }, message));
}

/**
 * Reads and answers until the client's handshake response is here. Rejects when it is refused, has gone or takes too long: it has been told and closed then.
 */
export async function acceptClient(channel: PlainChannel, options: ClientOptions): Promise<ClientConnection> {
  const deadline = new Deadline(options.timeoutMs, () => new BadPacket(Errors.networkReadInterrupted, `no login within ${options.timeoutMs} ms`));
  const greeting = new Greeting(channel, options, deadline);
  try {
    return await greeting.run();
  } catch (error) {
    greeting.giveUp(deadline.error ?? (error as Error));
    throw deadline.error ?? error;
  } finally {
    deadline.over();
  }
}

/** From the accepted socket to the handshake response. */
class Greeting {
  packets!: PacketPort;
  source: { readonly address: string; readonly port: number } | undefined;
  readonly scramble = newScramble();
  readonly #plain: PlainChannel;
  readonly #options: ClientOptions;
  readonly #deadline: Deadline;
  #mute = false;

  constructor(plain: PlainChannel, options: ClientOptions, deadline: Deadline) {
    this.#plain = plain;
    this.#options = options;
    this.#deadline = deadline;
  }

  async run(): Promise<ClientConnection> {
    const { tls, greeting, connectionId } = this.#options;
    await this.#begin();
    const offer = offered(greeting, tls !== undefined);
    const { serverVersion, collation } = greeting;
    const { packets, scramble } = this;
    packets.write(encodeHandshake({ serverVersion, connectionId, scramble, collation, statusFlags: StatusFlag.autocommit, authPlugin: pluginOf(serverVersion), ...offer }));
    const payload = await this.#readResponse();
    const response = decodeHandshakeResponse(payload);
    if (tls?.required === true && !this.packets.channel.secure) {
      throw new BadPacket(Errors.secureTransportRequired, 'Connections using insecure transport are prohibited while require_secure_transport=ON.');
    }
    this.#deadline.unwatch(this.packets);
    const both = (response.capabilities & offer.capabilities) >>> 0;
    return new ClientConnection(this, { ...response, capabilities: both }, agreedWithClient(response, offer));
  }

  async #begin(): Promise<void> {
    const plain = this.#plain;
    let rest: Buffer | undefined;
    if (this.#options.proxyProtocol) {
      const late = { fail: () => plain.destroy() };
      this.#deadline.watch(late);
      const start = await readProxyHeader(plain);
      this.#deadline.unwatch(late);
      if (start.header.proxied) this.source = start.header.source;
      rest = start.rest;
    }
    this.#take(plain, 0, rest);
  }

  #take(channel: ByteChannel, sequenceId: number, rest?: Buffer): void {
    this.packets = new PacketPort(channel, 'the client', packetBytesMax, rest);
    this.packets.sequenceId = sequenceId;
    this.#deadline.watch(this.packets);
  }

  /** In TLS, if the client asks for it. */
  async #readResponse(): Promise<Buffer> {
    const payload = await this.packets.read();
    const { tls } = this.#options;
    if (!isSslRequest(payload)) return payload;
    decodeSslRequest(payload);
    if (tls === undefined) throw new BadPacket(Errors.badHandshake, 'Bad handshake: TLS is not offered here');
    const { sequenceId } = this.packets;
    this.#deadline.unwatch(this.packets);
    const late = { fail: () => this.#plain.destroy() };
    this.#mute = true;
    const secured = TlsChannel.accept(this.#plain, Buffer.from(this.packets.release()), tls);
    this.#deadline.watch(late);
    this.#take(await secured, sequenceId);
    this.#deadline.unwatch(late);
    this.#mute = false;
    return this.packets.read();
  }

  /** Tells the client why, where it can still be told. */
  giveUp(error: Error): void {
    if (this.#mute || (this.packets as PacketPort | undefined) === undefined) return this.#plain.destroy();
    if (error instanceof ConnectionLost) return this.packets.channel.destroy();
    refuse(this.packets, error instanceof BadPacket ? { ...error.error, message: error.message } : { ...Errors.badHandshake, message: 'Bad handshake' });
  }
}

/** What clients are asked for first: the plugin that most accounts of such a server have. They are asked for another one where theirs has another. */
function pluginOf(serverVersion: string): string {
  return /mariadb|tidb/i.test(serverVersion) || Number.parseInt(serverVersion) < 8 ? nativePassword : cachingSha2Password;
}
