import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import type { LineIntake } from '../lines/line-intake.js';
import { batchPackets, PacketBatches, type TakePacket } from './packet-batches.js';
import { untilQuiet } from './until-quiet.js';

/** Batches are read for so long in a turn of the event loop. */
const batchesMsMax = 5;

export interface UdpReceiverOptions {
  readonly host: string;
  readonly port: number;
  readonly isShared: boolean;
  readonly bufferBytes: number;
}

/** statsd lines in UDP packets: best effort, as UDP is. What the kernel could not keep is counted by `kernelDrops`. */
export class UdpReceiver {
  readonly #socket: Socket;
  readonly #take: TakePacket;
  #batches: PacketBatches | undefined;
  /** Packets that Node.js has read in this turn of the event loop. */
  #inTurn = 0;
  #batchesEndMs = 0;
  packets = 0;
  /** Those of them that came in batches. */
  batched = 0;

  constructor(
    private readonly options: UdpReceiverOptions,
    lines: LineIntake,
  ) {
    this.#take = (bytes, start, end, address) => {
      this.packets += 1;
      lines.take(bytes, start, end, address);
    };
    this.#socket = createSocket({ type: isIPv6(options.host) ? 'udp6' : 'udp4', reusePort: options.isShared });
    this.#socket.on('message', (packet, { address }) => {
      this.#take(packet, 0, packet.length, address);
      if (this.#batches !== undefined) this.#takeWaiting();
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
    this.#batches = PacketBatches.of(this.#socket);
  }

  port(): number {
    return this.#socket.address().port;
  }

  /** What the kernel gave, which is twice what it counts, or less than was asked for where `net.core.rmem_max` is lower. */
  bufferBytes(): number {
    return this.#socket.getRecvBufferSize();
  }

  /** Packets are read many at a time when many wait. */
  readsBatches(): boolean {
    return this.#batches !== undefined;
  }

  /** What has arrived is taken first. */
  async close(): Promise<void> {
    await untilQuiet(() => this.packets);
    // Its descriptor may be another one's from here on.
    this.#batches = undefined;
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }

  /** A second packet in a turn says that more are waiting: for a single one it is not worth to ask. */
  #takeWaiting(): void {
    this.#inTurn += 1;
    if (this.#inTurn === 1) setImmediate(() => (this.#inTurn = 0));
    if (this.#inTurn === 1) return;
    if (this.#inTurn === 2) this.#batchesEndMs = performance.now() + batchesMsMax;
    while (performance.now() < this.#batchesEndMs) {
      const taken = this.#batches?.take(this.#take) ?? 0;
      this.batched += taken;
      if (taken < batchPackets) return;
    }
  }
}
