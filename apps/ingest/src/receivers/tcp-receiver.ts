import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { LineIntake } from '../lines/line-intake.js';
import type { ConnectionCount } from './connection-count.js';
import { untilQuiet } from './until-quiet.js';

export interface TcpReceiverOptions {
  readonly host: string;
  readonly port: number;
  readonly isShared: boolean;
  /** Of all receivers together, as `connections` counts them. */
  readonly connectionsMax: number;
  readonly idleMsMax: number;
  readonly connections: ConnectionCount;
}

/** Longer than any packet of UDP may be; a longer line is bad, and the next one counts again. */
const lineBytesMax = 65_536;
const lineFeed = 0x0a;

/** statsd lines over TCP: each ends with a line feed, the last one perhaps with the connection. */
export class TcpReceiver {
  readonly #server: Server;
  readonly #connections = new Set<Socket>();
  /** Connections and pieces of data, since the start. */
  #arrivals = 0;
  /** Connections that were closed at once, for there were too many. */
  refused = 0;

  constructor(
    private readonly options: TcpReceiverOptions,
    private readonly lines: LineIntake,
    private readonly onLongLine: (beginning: Buffer) => void,
  ) {
    this.#server = createServer((socket) => this.#follow(socket));
  }

  /** Rejects with what the system says. */
  async open(): Promise<void> {
    const listening = once(this.#server, 'listening');
    const { host, port, isShared } = this.options;
    this.#server.listen({ host, port, reusePort: isShared });
    await listening;
  }

  port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** What has arrived is taken; what comes now goes elsewhere. */
  async close(): Promise<void> {
    await untilQuiet(() => this.#arrivals);
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#connections) socket.destroy();
    await closed;
  }

  #follow(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    const { connections, connectionsMax, idleMsMax } = this.options;
    if (connections.add(1) > connectionsMax) {
      connections.add(-1);
      this.refused += 1;
      socket.destroy();
      return;
    }
    this.#connections.add(socket);
    const splitter = new LineBuffer(this.lines, socket.remoteAddress?.replace(/^::ffff:/, '') ?? '', this.onLongLine);
    this.#arrivals += 1;
    socket.setTimeout(idleMsMax, () => socket.destroy());
    socket.on('data', (chunk) => {
      this.#arrivals += 1;
      splitter.take(chunk);
    });
    socket.on('end', () => splitter.end());
    socket.on('close', () => {
      this.#connections.delete(socket);
      connections.add(-1);
    });
  }
}

/** Keeps the beginning of a line until its end comes. */
class LineBuffer {
  #beginning: Buffer = Buffer.alloc(0);
  /** In a line that is too long already. */
  #isSkipping = false;

  constructor(
    private readonly lines: LineIntake,
    private readonly address: string,
    private readonly onLongLine: (beginning: Buffer) => void,
  ) {}

  take(chunk: Buffer): void {
    const lastEnd = chunk.lastIndexOf(lineFeed);
    if (lastEnd < 0) return this.#keep(chunk);
    let start = 0;
    if (this.#isSkipping || this.#beginning.length > 0) {
      start = chunk.indexOf(lineFeed) + 1;
      this.#keep(chunk.subarray(0, start - 1));
      this.end();
    }
    if (start <= lastEnd) this.lines.take(chunk, start, lastEnd, this.address);
    this.#keep(chunk.subarray(lastEnd + 1));
  }

  end(): void {
    if (!this.#isSkipping) this.lines.take(this.#beginning, 0, this.#beginning.length, this.address);
    this.#isSkipping = false;
    this.#beginning = this.#beginning.subarray(0, 0);
  }

  #keep(bytes: Buffer): void {
    if (this.#isSkipping || bytes.length === 0) return;
    if (this.#beginning.length + bytes.length > lineBytesMax) {
      this.onLongLine(this.#beginning.length > 0 ? this.#beginning : bytes);
      this.#isSkipping = true;
      this.#beginning = this.#beginning.subarray(0, 0);
    } else this.#beginning = this.#beginning.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#beginning, bytes]);
  }
}
