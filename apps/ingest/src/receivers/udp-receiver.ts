import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import type { LineIntake } from '../lines/line-intake.js';
import { untilQuiet } from './until-quiet.js';

export interface UdpReceiverOptions {
  readonly host: string;
  readonly port: number;
  readonly isShared: boolean;
  readonly bufferBytes: number;
}

/** statsd lines in UDP packets: best effort, as UDP is. What the kernel could not keep is counted by `kernelDrops`. */
export class UdpReceiver {
  readonly #socket: Socket;
  packets = 0;

  constructor(
    private readonly options: UdpReceiverOptions,
    lines: LineIntake,
  ) {
    this.#socket = createSocket({ type: isIPv6(options.host) ? 'udp6' : 'udp4', reusePort: options.isShared });
    this.#socket.on('message', (packet, { address }) => {
      this.packets += 1;
      lines.take(packet, 0, packet.length, address);
    });
  }

  /** Rejects with what the system says. */
  async open(): Promise<void> {
    const { host, port, bufferBytes } = this.options;
    const listening = once(this.#socket, 'listening');
    this.#socket.bind(port, host);
    await listening;
    // From now on an error is of one packet, and the next may be well.
    this.#socket.on('error', () => undefined);
    this.#socket.setRecvBufferSize(bufferBytes);
  }

  port(): number {
    return this.#socket.address().port;
  }

  /** What the kernel gave, which is twice what it counts, or less than was asked for where `net.core.rmem_max` is lower. */
  bufferBytes(): number {
    return this.#socket.getRecvBufferSize();
  }

  /** What has arrived is taken first. */
  async close(): Promise<void> {
    await untilQuiet(() => this.packets);
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }
}
