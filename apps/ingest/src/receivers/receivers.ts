import { NodeContext } from '@binnacle/node-kit/node-context';
import { listenError } from '@binnacle/node-kit/node-listener';
import { Injectable } from '@nestjs/common';
import { Ingest } from '../ingest.js';
import { kernelDrops } from './kernel-drops.js';
import { TcpReceiver } from './tcp-receiver.js';
import { UdpReceiver } from './udp-receiver.js';

/** The statsd listeners of this node, where it has any. */
@Injectable()
export class Receivers {
  readonly udp: UdpReceiver | undefined;
  readonly tcp: TcpReceiver | undefined;

  constructor(
    private readonly node: NodeContext,
    ingest: Ingest,
  ) {
    const { statsd, host, udpPort, tcpPort, udpBufferKilobytes, tcpConnectionsMax: connectionsMax, tcpIdleMsMax: idleMsMax } = node.config.ingest;
    if (!statsd) return;
    this.udp = new UdpReceiver({ host, port: udpPort, bufferBytes: udpBufferKilobytes * 1_024 }, ingest.lines);
    this.tcp = new TcpReceiver({ host, port: tcpPort, connectionsMax, idleMsMax }, ingest.lines, (line) => ingest.badLines.take('too-long', line));
    node.addPart({ name: 'statsd', start: () => this.#open(), drain: () => this.#close() });
  }

  /** UDP packets that the kernel threw away. */
  async drops(): Promise<number | undefined> {
    return this.udp === undefined ? undefined : kernelDrops(this.udp.port());
  }

  async #open(): Promise<void> {
    const { host, udpPort, tcpPort } = this.node.config.ingest;
    const failed = (port: number, key: string) => (error: unknown): never => {
      throw listenError(error, { host, port, key, hostKey: 'ingest.host' });
    };
    await this.udp?.open().catch(failed(udpPort, 'ingest.udp-port'));
    await this.tcp?.open().catch(failed(tcpPort, 'ingest.tcp-port'));
    this.node.log.info({ udp: this.udp?.port(), tcp: this.tcp?.port(), udpBufferBytes: this.udp?.bufferBytes() }, 'statsd lines are taken');
  }

  async #close(): Promise<void> {
    await Promise.all([this.udp?.close(), this.tcp?.close()]);
  }
}
