import { connect, TLSSocket, type ConnectionOptions, type SecureContext } from 'node:tls';
import type { PlainChannel } from './plain-channel.js';
import { ignore, SocketChannel, type OwnedSocket } from './socket-channel.js';

function onData(this: OwnedSocket, chunk: Buffer): void {
  this.channel.onBytes(chunk, 0, chunk.length);
}

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
export class TlsChannel extends SocketChannel {
  readonly secure = true;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localPort: number;
  readonly #plain: PlainChannel;

  private constructor(plain: PlainChannel, socket: TLSSocket) {
    super(socket);
    this.#plain = plain;
    this.remoteAddress = plain.remoteAddress;
    this.remotePort = plain.remotePort;
    this.localPort = plain.localPort;
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

  get bytesRead(): number {
    return this.#plain.bytesRead;
  }

  get bytesWritten(): number {
    return this.#plain.bytesWritten;
  }
}
