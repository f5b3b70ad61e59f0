import { connect, TLSSocket, type ConnectionOptions, type SecureContext } from 'node:tls';
import type { ByteChannel, Keepalive } from './byte-channel.js';
import type { PlainChannel } from './plain-channel.js';

interface OwnedSocket extends TLSSocket {
  channel: TlsChannel;
}

function onData(this: OwnedSocket, chunk: Buffer): void {
  this.channel.onBytes(chunk, 0, chunk.length);
}

function onDrain(this: OwnedSocket): void {
  this.channel.onDrain();
}

function onEnd(this: OwnedSocket): void {
  this.channel.onEnd();
}

function onError(this: OwnedSocket, error: Error): void {
  this.channel.failed(error);
}

function onClose(this: OwnedSocket): void {
  this.channel.socketClosed();
}

const ignore = (): void => {};

/** The certificate checks of a TLSSocket that no `tls.Server` has made; Node has no public name for them. */
interface TlsInside {
  readonly ssl: { verifyError(): Error | null };
}

export interface ServerTls {
  readonly context: SecureContext;
  /** Ask clients for a certificate and refuse those whose one the context's `ca` does not know. */
  readonly requestCertificate: boolean;
}

/** TLS over a socket that was plain until now. Node decrypts into memory that nobody else uses, so everything may be taken. */
export class TlsChannel implements ByteChannel {
  onBytes: (chunk: Buffer, start: number, end: number) => boolean = () => false;
  onDrain: () => void = ignore;
  onEnd: () => void = ignore;
  onClosed: (error?: Error) => void = ignore;
  readonly secure = true;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localPort: number;

  readonly #plain: PlainChannel;
  readonly #socket: OwnedSocket;
  #error: Error | undefined;
  #gone = false;

  private constructor(plain: PlainChannel, socket: TLSSocket) {
    this.#plain = plain;
    this.#socket = socket as OwnedSocket;
    this.#socket.channel = this;
    this.remoteAddress = plain.remoteAddress;
    this.remotePort = plain.remotePort;
    this.localPort = plain.localPort;
    socket.on('drain', onDrain);
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('close', onClose);
  }

  /** The server's side. `rest` is what has arrived of the client's hello. Paused at first; rejects when the handshake fails or the client goes. */
  static async accept(plain: PlainChannel, rest: Buffer, { context, requestCertificate }: ServerTls): Promise<TlsChannel> {
    if (rest.length > 0) plain.socket.unshift(rest);
    const socket = new TLSSocket(plain.socket, { isServer: true, secureContext: context, requestCert: requestCertificate, rejectUnauthorized: requestCertificate });
    const channel = await TlsChannel.#secured(plain, socket, 'secure');
    const refused = requestCertificate ? (socket as unknown as TlsInside).ssl.verifyError() : null;
    if (refused === null) return channel;
    socket.destroy();
    throw refused;
  }

  /** The client's side. Paused at first; rejects as `accept`, and for a certificate that the options do not allow. */
  static connect(plain: PlainChannel, options: ConnectionOptions): Promise<TlsChannel> {
    return TlsChannel.#secured(plain, connect({ ...options, socket: plain.socket }), 'secureConnect');
  }

  static #secured(plain: PlainChannel, socket: TLSSocket, event: 'secure' | 'secureConnect'): Promise<TlsChannel> {
    const channel = new TlsChannel(plain, socket);
    return new Promise((resolve, reject) => {
      channel.onClosed = (error) => reject(error ?? new Error('closed within the TLS handshake'));
      // A peer that gives up within the handshake would otherwise wait for our FIN.
      channel.onEnd = () => socket.destroy();
      socket.once(event, () => {
        channel.onClosed = ignore;
        channel.onEnd = ignore;
        socket.pause();
        socket.on('data', onData);
        resolve(channel);
      });
    });
  }

  failed(error: Error): void {
    this.#error ??= error;
  }

  socketClosed(): void {
    this.#gone = true;
    this.onClosed(this.#error);
  }

  write(chunk: Buffer): boolean {
    return this.#socket.destroyed || this.#socket.writableEnded || this.#socket.write(chunk);
  }

  get writesPending(): boolean {
    return this.#socket.writableLength !== 0;
  }

  get full(): boolean {
    return this.#socket.writableNeedDrain;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(last?: Buffer): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    if (last === undefined) this.#socket.end();
    else this.#socket.end(last);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  keepAlive({ enabled, idleMs, intvlMs, cnt }: Keepalive): void {
    this.#socket.setKeepAlive({ enable: enabled, initialDelay: idleMs, ...(intvlMs > 0 && { interval: intvlMs }), ...(cnt > 0 && { count: cnt }) });
  }

  get closed(): boolean {
    return this.#gone || this.#socket.destroyed;
  }

  get bytesRead(): number {
    return this.#plain.bytesRead;
  }

  get bytesWritten(): number {
    return this.#plain.bytesWritten;
  }
}
