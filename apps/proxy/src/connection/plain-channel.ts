import { Socket, type SocketConstructorOpts, type TcpSocketConnectOpts } from 'node:net';
import { giveBack, largeAreScarce, largeBytes, lost, takeLarge, takeSmall } from './read-buffers.js';
import { ignore, SocketChannel } from './socket-channel.js';

/** Properties of a socket that Node has no public name for: its handle, and the server that counts it. */
interface SocketInside {
  _handle: unknown;
  _server: unknown;
  server: unknown;
}

export interface DialOptions {
  /** An address, or a name that the resolver of the system knows. */
  readonly host: string;
  readonly port: number;
  /** Reached or given up by then, name resolution included. */
  readonly timeoutMs: number;
}

/**
 * What the socket under way shall read into next. One for all sockets of the thread: Node asks for it right behind the callback of a read, and
 * when a handle is made, never in between; so no socket needs a closure of its own.
 */
let nextBuffer: Buffer | undefined;

class ChannelSocket extends Socket {
  channel!: PlainChannel;

  constructor(handle?: unknown) {
    const options = { allowHalfOpen: true, handle, onread: { buffer: handBuffer, callback: onRead } };
    // `handle` is not in the types; nor that `onread.buffer` may give nothing, to keep the buffer there is.
    super(options as unknown as SocketConstructorOpts);
  }
}

function handBuffer(): Buffer | undefined {
  const buffer = nextBuffer;
  nextBuffer = undefined;
  return buffer;
}

function onRead(this: ChannelSocket, bytes: number, buffer: Buffer): boolean {
  nextBuffer = this.channel.read(bytes, buffer);
  return true;
}

/**
 * A bare TCP socket. Reads into a buffer of its own that is used again and again as long as what it held was written on at once: a small one until
 * it was filled, then a large one.
 */
export class PlainChannel extends SocketChannel {
  readonly secure = false;
  #buffer: Buffer;
  #remoteAddress: string | undefined;
  #remotePort: number | undefined;

  private constructor(buffer: Buffer, socket: ChannelSocket) {
    super(socket);
    this.#buffer = buffer;
  }

  /**
   * Takes the place of a socket that a `net.Server` with `pauseOnConnect` has accepted: only at its making can a socket be given `onread`.
   * The server goes on counting it.
   */
  static accepted(accepted: Socket): PlainChannel {
    const inside = accepted as unknown as SocketInside;
    nextBuffer = takeSmall();
    const buffer = nextBuffer;
    const socket = new ChannelSocket(inside._handle);
    const counted = socket as unknown as SocketInside;
    counted.server = inside.server;
    counted._server = inside._server;
    inside._handle = null;
    inside._server = null;
    socket.setNoDelay(true);
    return new PlainChannel(buffer, socket);
  }

  /** Connects; paused at first. Rejects with the system's error (`ECONNREFUSED`, `ETIMEDOUT` at the deadline). */
  static dial({ host, port, timeoutMs }: DialOptions): Promise<PlainChannel> {
    return new Promise((resolve, reject) => {
      nextBuffer = takeSmall();
      const buffer = nextBuffer;
      const socket = new ChannelSocket();
      const channel = new PlainChannel(buffer, socket);
      const timer = setTimeout(() => socket.destroy(Object.assign(new Error(`no connection to ${host}:${port} within ${timeoutMs} ms`), { code: 'ETIMEDOUT' })), timeoutMs);
      channel.onClosed = (error) => {
        clearTimeout(timer);
        reject(error ?? new Error(`the connection to ${host}:${port} closed at once`));
      };
      // With several addresses Node would make a handle for each, later, and want a buffer for each.
      const target: TcpSocketConnectOpts = { host, port, autoSelectFamily: false };
      socket.connect(target, () => {
        socket.setNoDelay(true);
        clearTimeout(timer);
        channel.onClosed = ignore;
        // Paused until its new owner has set its callbacks; `read` first, since a stream that never read would begin to a tick after any `resume`.
        socket.read(0);
        channel.pause();
        resolve(channel);
      });
    });
  }

  /** What Node read: gives what to read into next, if that is another buffer. */
  read(bytes: number, buffer: Buffer): Buffer | undefined {
    const wantsLarge = bytes === buffer.length || (buffer.length === largeBytes && !largeAreScarce());
    const taken = this.onBytes(buffer, 0, bytes);
    if (!taken && wantsLarge === (buffer.length === largeBytes)) return undefined;
    if (taken) lost(buffer);
    else giveBack(buffer);
    return (this.#buffer = wantsLarge ? takeLarge() : takeSmall());
  }

  override socketClosed(): void {
    giveBack(this.#buffer);
    super.socketClosed();
  }

  get bytesRead(): number {
    return this.socket.bytesRead;
  }

  get bytesWritten(): number {
    return this.socket.bytesWritten;
  }

  /** Asked for when the peer may have gone already, so it is kept from the first time on. */
  get remoteAddress(): string {
    return (this.#remoteAddress ??= this.socket.remoteAddress ?? '');
  }

  get remotePort(): number {
    return (this.#remotePort ??= this.socket.remotePort ?? 0);
  }

  get localPort(): number {
    return this.socket.localPort ?? 0;
  }
}
