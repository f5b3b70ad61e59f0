import type { Socket } from 'node:net';
import type { ByteChannel, Keepalive } from './byte-channel.js';

/** A socket that knows its channel: so that listeners need no closure for each socket. */
export interface OwnedSocket extends Socket {
  channel: SocketChannel;
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

export const ignore = (): void => {};

/** What a channel over a socket of Node's does whether that is plain or TLS; how bytes are read is the channel's own affair. */
export abstract class SocketChannel implements ByteChannel {
  onBytes: (chunk: Buffer, start: number, end: number) => boolean = () => false;
  onDrain: () => void = ignore;
  onEnd: () => void = ignore;
  onClosed: (error?: Error) => void = ignore;

  /** For who puts TLS on top: nobody may use the channel from then on. */
  readonly socket: OwnedSocket;
  #error: Error | undefined;
  #gone = false;

  protected constructor(socket: Socket) {
    this.socket = socket as OwnedSocket;
    this.socket.channel = this;
    socket.on('drain', onDrain);
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('close', onClose);
  }

  abstract readonly secure: boolean;
  abstract readonly bytesRead: number;
  abstract readonly bytesWritten: number;
  abstract readonly remoteAddress: string;
  abstract readonly remotePort: number;
  abstract readonly localPort: number;

  failed(error: Error): void {
    this.#error ??= error;
  }

  socketClosed(): void {
    this.#gone = true;
    this.onClosed(this.#error);
  }

  write(chunk: Buffer): boolean {
    return this.socket.destroyed || this.socket.writableEnded || this.socket.write(chunk);
  }

  get writesPending(): boolean {
    return this.socket.writableLength !== 0;
  }

  get full(): boolean {
    return this.socket.writableNeedDrain;
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  end(last?: Buffer): void {
    if (this.socket.destroyed || this.socket.writableEnded) return;
    if (last === undefined) this.socket.end();
    else this.socket.end(last);
  }

  destroy(): void {
    this.socket.destroy();
  }

  keepAlive({ enabled, idleMs, intvlMs, cnt }: Keepalive): void {
    this.socket.setKeepAlive({ enable: enabled, initialDelay: idleMs, ...(intvlMs > 0 && { interval: intvlMs }), ...(cnt > 0 && { count: cnt }) });
  }

  get closed(): boolean {
    return this.#gone || this.socket.destroyed;
  }
}
