import { NodeContext } from '@binnacle/node-kit/node-context';
import { listenError } from '@binnacle/node-kit/node-listener';
import { Injectable } from '@nestjs/common';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Ingest } from '../ingest.js';
import { ConnectionCount } from './connection-count.js';
import type { HandOver } from './hand-over.js';
import { KernelDrops } from './kernel-drops.js';
import { type ListenError, type Listening, Receiver, type ReceiverPlace } from './receiver.js';
import { ReceiverThread } from './receiver-thread.js';

/** How often the kernel is asked for its drops: those of a thread that ends are known up to then. */
const lookIntervalMs = 1_000;

/** The statsd listeners of this node, where it has any: on its own thread, or on threads of theirs. */
@Injectable()
export class Receivers {
  readonly threads: ReceiverThread[] = [];
  #own: Receiver | undefined;
  readonly #connections: Int32Array<SharedArrayBuffer>;
  readonly #drops = new KernelDrops();
  #listening: Listening | undefined;
  #cancelLook = (): void => {};
  /** Of threads: what they handed over. */
  #packets = 0;
  #refused = 0;

  constructor(
    private readonly node: NodeContext,
    private readonly ingest: Ingest,
  ) {
    const { statsd, receiverWorkers } = node.config.ingest;
    this.#connections = new Int32Array(new SharedArrayBuffer(Math.max(receiverWorkers, 1) * Int32Array.BYTES_PER_ELEMENT));
    if (!statsd) return;
    ingest.beforeFlush = () => this.handOver();
    node.addPart({ name: 'statsd', start: () => this.#open(), drain: () => this.#close(), health: () => this.#health() });
  }

  /** Once they are open; undefined where there are none. */
  get udpPort(): number | undefined {
    return this.#listening?.udpPort;
  }

  get tcpPort(): number | undefined {
    return this.#listening?.tcpPort;
  }

  /** UDP packets taken. */
  get packets(): number {
    return this.#own?.packets ?? this.#packets;
  }

  /** TCP connections that were closed at once, for there were too many. */
  get refused(): number {
    return this.#own?.refused ?? this.#refused;
  }

  /** Threads that ended by themselves. */
  get deaths(): number {
    return this.threads.reduce((sum, { deaths }) => sum + deaths, 0);
  }

  connectionCount(): number {
    return new ConnectionCount(this.#connections).total();
  }

  /** UDP packets that the kernel threw away; 0 where it does not tell. */
  async drops(): Promise<number> {
    if (this.#listening !== undefined) await this.#drops.look(this.#listening.udpPort);
    return this.#drops.total();
  }

  /** Resolves when what the threads have taken is counted, but for one that does not answer in time. */
  async handOver(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.handOver()));
  }

  async #open(): Promise<void> {
    const { host, udpPort, tcpPort, receiverWorkers } = this.node.config.ingest;
    try {
      this.#listening = receiverWorkers === 0 ? await this.#openOwn({ host, udpPort, tcpPort, isShared: false }) : await this.#openThreads(receiverWorkers, { host, udpPort, tcpPort });
    } catch (error) {
      const { protocol, cause } = error as Partial<ListenError>;
      if (protocol === undefined) throw error;
      throw listenError(cause, { host, port: protocol === 'udp' ? udpPort : tcpPort, key: `ingest.${protocol}-port`, hostKey: 'ingest.host' });
    }
    this.#look();
    const { udpPort: udp, tcpPort: tcp, udpBufferBytes, readsBatches } = this.#listening;
    this.node.log.info({ udp, tcp, udpBufferBytes, threads: this.threads.length }, 'statsd lines are taken');
    if (!readsBatches) this.node.log.debug('UDP packets are read one by one: many at a time needs Linux, on x64 or arm64, and the native library koffi');
  }

  #openOwn(place: ReceiverPlace): Promise<Listening> {
    const { ingest, node } = this;
    this.#own = new Receiver(place, node.config.ingest, ingest.lines, new ConnectionCount(this.#connections), (line) => ingest.badLines.take('too-long', line));
    return this.#own.open();
  }

  async #openThreads(wanted: number, ports: Omit<ReceiverPlace, 'isShared'>): Promise<Listening> {
    const { log, clock, config } = this.node;
    const canShare = process.platform === 'linux';
    if (!canShare && wanted > 1) log.warn('only Linux spreads the packets of one port over several threads: statsd lines are taken by one');
    const count = canShare ? wanted : 1;
    const { timerValuesMax, setMembersMax } = config.ingest;
    const share = { timerValuesMax: Math.ceil(timerValuesMax / count), setMembersMax: Math.ceil(setMembersMax / count) };
    const place = count === 1 ? { ...ports, isShared: false } : { ...ports, ...(await this.#probe(ports)), isShared: true };
    for (let number = 0; number < count; number++) {
      const data = { place, config: { ...config.ingest, ...share }, connections: this.#connections, number };
      this.threads.push(new ReceiverThread({ data, clock, log, count: (handOver) => this.#count(handOver) }));
    }
    const listening = await Promise.all(this.threads.map((thread) => thread.start()));
    return listening[0] as Listening;
  }

  /** Ports that are shared would be shared with another process of this user, too, and each have a part of the lines: so they have to be free. */
  async #probe(ports: Omit<ReceiverPlace, 'isShared'>): Promise<{ udpPort: number; tcpPort: number }> {
    const probe = new Receiver({ ...ports, isShared: false }, this.node.config.ingest, this.ingest.lines, new ConnectionCount(this.#connections), () => {});
    const { udpPort, tcpPort } = await probe.open();
    await probe.close();
    return { udpPort, tcpPort };
  }

  async #count({ messages, events, badLines, counts }: HandOver): Promise<void> {
    const { ingest } = this;
    ingest.lines.taken += counts.lines;
    ingest.eventsDropped += counts.eventsDropped;
    ingest.store.losses.overflowed += counts.overflowed;
    ingest.store.losses.timerValues += counts.timerValues;
    ingest.store.losses.setMembers += counts.setMembers;
    this.#packets += counts.packets;
    this.#refused += counts.refused;
    for (const { reason, count, line } of badLines) ingest.badLines.take(reason, Buffer.from(line), count);
    for (const event of events) ingest.takeLineEvent(event);
    for (const message of messages) {
      ingest.handed.take(message);
      await nextTurn();
    }
  }

  #look(): void {
    this.#cancelLook = this.node.clock.after(lookIntervalMs, () => void this.drops().finally(() => this.#look()));
  }

  async #close(): Promise<void> {
    await this.drops();
    this.#cancelLook();
    await Promise.all([this.#own?.close(), ...this.threads.map((thread) => thread.close())]);
  }

  async #health(): Promise<string> {
    const troubles = this.threads.flatMap((thread) => thread.trouble() ?? []);
    const dropped = `${await this.drops()} packets dropped by the kernel`;
    if (troubles.length > 0) throw new Error(`${troubles.join('; ')}; ${dropped}`);
    return this.threads.length === 0 ? dropped : `${this.threads.length} receiver threads, ${dropped}`;
  }
}
