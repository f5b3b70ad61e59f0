import type { Clock } from '@binnacle/cluster-state/clock';
import type { GatewayConfig } from '@binnacle/node-kit/config';
import { listenError } from '@binnacle/node-kit/node-listener';
import type { RequestListener, Server, ServerOptions } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { ListenerName } from './dialect-router.js';

/** Of a request, name and value of every header together. */
const headerBytesMax = 16 * 1024;
/** From the start of a connection or a request to the end of its head. */
const headersTimeoutMs = 15_000;
/** No request takes longer than this to arrive, however steadily; a body that stands still is given up much sooner. */
const requestTimeoutMs = 3_600_000;
/** Longer than the minute after which load balancers give up idle connections, so that it is not the gateway that closes a used one. */
const keepAliveTimeoutMs = 65_000;
/** How often clients that are too slow are looked for. */
const slowClientCheckMs = 5_000;
const unreadAnswerMsMaxDefault = 60_000;
/** While the listeners close: how soon a connection is closed after its last answer. */
const idleCheckMs = 100;

export const serverOptions: ServerOptions = {
  maxHeaderSize: headerBytesMax,
  headersTimeout: headersTimeoutMs,
  requestTimeout: requestTimeoutMs,
  keepAliveTimeout: keepAliveTimeoutMs,
  connectionsCheckingInterval: slowClientCheckMs,
  insecureHTTPParser: false,
  requireHostHeader: true,
  // Saves a GET the events of a body that it does not have.
  optimizeEmptyRequests: true,
};

/** Each public listener: its name, and the key of its port. */
const portKeys: readonly (readonly [ListenerName, keyof GatewayConfig & `${string}ort`, string])[] = [
  ['all', 'port', 'gateway.port'],
  ['tiflash', 'tiflashPort', 'gateway.tiflash-port'],
  ['tiproxy', 'tiproxyPort', 'gateway.tiproxy-port'],
  ['gostatsd', 'gostatsdPort', 'gateway.gostatsd-port'],
  ['typesense', 'typesensePort', 'gateway.typesense-port'],
];

export interface ListenersOptions {
  readonly config: GatewayConfig;
  readonly clock: Clock;
  createServer(handler: RequestListener, options: ServerOptions): Server;
  handler(listener: ListenerName): RequestListener;
  /** A client that takes nothing of its answer for this long is cut off. Default: a minute. */
  readonly unreadAnswerMsMax?: number;
}

/** The public listeners of a gateway: one port for every dialect, and one for each. */
export class Listeners {
  readonly #servers = new Map<ListenerName, Server>();
  #connections = 0;
  #cancelClosing: () => void = () => {};

  constructor(private readonly options: ListenersOptions) {}

  /** Opens them all, or rejects, with a message that names the key of the port to change, and leaves none open. */
  async open(): Promise<void> {
    try {
      for (const [name, property, key] of portKeys) await this.#open(name, this.options.config[property], key);
    } catch (error) {
      this.destroy();
      throw error;
    }
  }

  /** The ports in use, by listener. */
  ports(): ReadonlyMap<ListenerName, number> {
    return new Map([...this.#servers].map(([name, server]) => [name, (server.address() as AddressInfo).port]));
  }

  connectionCount(): number {
    return this.#connections;
  }

  /** Takes no new connection, and resolves when the last answer has gone out. */
  async close(): Promise<void> {
    const closed = [...this.#servers.values()].map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    this.#closeIdle();
    await Promise.all(closed);
    this.#cancelClosing();
  }

  /** An answer whose head had gone out before the gateway stopped leaves its connection open; nobody else would close it. */
  #closeIdle(): void {
    for (const server of this.#servers.values()) server.closeIdleConnections();
    this.#cancelClosing = this.options.clock.after(idleCheckMs, () => this.#closeIdle());
  }

  /** Cuts every connection. */
  destroy(): void {
    this.#cancelClosing();
    for (const server of this.#servers.values()) {
      server.close();
      server.closeAllConnections();
    }
  }

  async #open(name: ListenerName, port: number, key: string): Promise<void> {
    const { config, createServer, handler, unreadAnswerMsMax = unreadAnswerMsMaxDefault } = this.options;
    const server = createServer(handler(name), serverOptions);
    server.on('connection', (socket) => this.#admit(socket));
    server.setTimeout(unreadAnswerMsMax, endUnreadAnswer);
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(listenError(error, { host: config.host, port, key, hostKey: 'gateway.host' })));
      server.listen({ host: config.host, port }, resolve);
    });
    this.#servers.set(name, server);
  }

  #admit(socket: Socket): void {
    if (this.#connections >= this.options.config.connectionsMax) {
      socket.destroy();
      return;
    }
    this.#connections++;
    socket.once('close', () => this.#connections--);
  }
}

/** Nothing was sent or received for that long. That is for the routes' deadlines to judge, but for a client that does not read. */
function endUnreadAnswer(socket: Socket): void {
  if (socket.writableLength > 0) socket.destroy();
}
