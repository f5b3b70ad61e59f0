import type { IngestConfig } from '@binnacle/node-kit/ingest-config';
import type { LineIntake } from '../lines/line-intake.js';
import type { ConnectionCount } from './connection-count.js';
import { TcpReceiver } from './tcp-receiver.js';
import { UdpReceiver } from './udp-receiver.js';

export interface ReceiverPlace {
  readonly host: string;
  readonly udpPort: number;
  readonly tcpPort: number;
  /** Others of this process listen on the same ports: the kernel gives each packet, and each connection, to one of them. */
  readonly isShared: boolean;
}

export interface Listening {
  readonly udpPort: number;
  readonly tcpPort: number;
  readonly udpBufferBytes: number;
  /** UDP packets are read many at a time when many wait. */
  readonly readsBatches: boolean;
}

/** Why a port cannot be listened on. */
export class ListenError extends Error {
  constructor(
    readonly protocol: 'udp' | 'tcp',
    override readonly cause: NodeJS.ErrnoException,
  ) {
    super(cause.message, { cause });
  }
}

/** The statsd sockets of one thread. */
export class Receiver {
  readonly #udp: UdpReceiver;
  readonly #tcp: TcpReceiver;

  constructor(place: ReceiverPlace, config: IngestConfig, lines: LineIntake, connections: ConnectionCount, onLongLine: (beginning: Buffer) => void) {
    const { host, udpPort, tcpPort, isShared } = place;
    const { udpBufferKilobytes, tcpConnectionsMax: connectionsMax, tcpIdleMsMax: idleMsMax } = config;
    this.#udp = new UdpReceiver({ host, port: udpPort, isShared, bufferBytes: udpBufferKilobytes * 1_024 }, lines);
    this.#tcp = new TcpReceiver({ host, port: tcpPort, isShared, connectionsMax, idleMsMax, connections }, lines, onLongLine);
  }

  /** Rejects with a `ListenError`, and nothing is open then. */
  async open(): Promise<Listening> {
    const failed = (protocol: 'udp' | 'tcp') => (error: unknown): never => {
      throw new ListenError(protocol, error as NodeJS.ErrnoException);
    };
    await this.#udp.open().catch(failed('udp'));
    await this.#tcp.open().catch(async (error: unknown) => {
      await this.#udp.close();
      failed('tcp')(error);
    });
    return { udpPort: this.#udp.port(), tcpPort: this.#tcp.port(), udpBufferBytes: this.#udp.bufferBytes(), readsBatches: this.#udp.readsBatches() };
  }

  /** UDP packets taken. */
  get packets(): number {
    return this.#udp.packets;
  }

  /** TCP connections that were closed at once, for there were too many. */
  get refused(): number {
    return this.#tcp.refused;
  }

  /** What has arrived is taken; what comes now goes elsewhere. */
  async close(): Promise<void> {
    await Promise.all([this.#udp.close(), this.#tcp.close()]);
  }
}
