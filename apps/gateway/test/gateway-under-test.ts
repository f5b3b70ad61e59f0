import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, type Clock } from '@binnacle/cluster-state/clock';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { EmbeddedClusterState } from '@binnacle/cluster-state/embedded-cluster-state';
import { NodeDirectory } from '@binnacle/cluster-state/node-directory';
import type { Route } from '@binnacle/contracts/route';
import { listenerRoutes } from '@binnacle/contracts/routes';
import { GatewayConfig } from '@binnacle/node-kit/config';
import { Lifecycle } from '@binnacle/node-kit/lifecycle';
import { Settings } from '@binnacle/node-kit/settings';
import { freePort } from '@binnacle/testing/free-port';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Registry } from 'prom-client';
import type { ListenerName } from '../src/dialect-router.js';
import { FanOut } from '../src/fan-out.js';
import { Forwarder } from '../src/forward.js';
import { ForwardingMetrics } from '../src/forwarding-metrics.js';
import { LeaseOwners } from '../src/lease-owners.js';
import { Listeners } from '../src/listeners.js';
import { OwnNode } from '../src/own-node.js';
import { RequestMetrics } from '../src/request-metrics.js';
import { RequestPipeline } from '../src/request-pipeline.js';
import { RetryBudget } from '../src/retry-budget.js';
import { Upstreams } from '../src/upstream.js';

export const clusterSecret = 'the secret of this test cluster';

/** A row for tests: served, GET, by any storage node. */
export function testRoute(facts: Partial<Route> & { path: string }): Route {
  const method = facts.method ?? 'GET';
  return {
    dialects: ['binnacle'],
    summary: 'a route of a test',
    target: { kind: 'role', role: 'storage' },
    action: 'tests:get',
    retryable: method === 'GET',
    everyNode: true,
    deadlineMs: 5_000,
    bodyBytesMax: 16 * 1024,
    produces: 'text/plain',
    ...facts,
    method,
  };
}

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A node of the registry: a plain HTTP server on a port of its own. */
export class TestNode {
  readonly server: http.Server;
  /** Of every request, in the order of arrival. */
  readonly seen: { method: string; url: string; headers: IncomingMessage['headers']; rawHeaders: string[] }[] = [];
  readonly requests = new EventEmitter();
  state: NodeRecord['state'] = 'running';
  #incarnation = 1;

  constructor(
    readonly id: string,
    readonly roles: readonly string[],
    public handler: Handler,
  ) {
    this.server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      this.seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, rawHeaders: request.rawHeaders });
      if (this.state === 'stopping') response.setHeader('connection', 'close');
      this.handler(request, response);
      this.requests.emit('request', request, response);
    });
  }

  /** Not on a port of those that outgoing connections get: it is listened on again after a while in which it is free. */
  async listen(port?: number): Promise<void> {
    this.server.listen(port ?? (await freePort()), '127.0.0.1');
    await once(this.server, 'listening');
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  record(port = this.port, facts: Partial<NodeRecord> = {}): NodeRecord {
    return {
      id: this.id,
      incarnation: `${this.id}-${this.#incarnation}`,
      roles: this.roles,
      host: '127.0.0.1',
      port,
      state: this.state,
      version: '0.0.0',
      startedAtMs: 0,
      appliedRevision: 0,
      outstandingRequests: 0,
      eventLoopDelayMs: 0,
      labels: {},
      ...facts,
    };
  }

  renew(): void {
    this.#incarnation++;
  }

  async close(): Promise<void> {
    if (!this.server.listening) return;
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }
}

export interface GatewayOptions {
  /** Default: the product's own table. */
  readonly routes?: readonly Route[];
  readonly clock?: Clock;
  readonly config?: Partial<GatewayConfig>;
  readonly ownHandler?: Handler;
  readonly check?: (route: Route) => import('@binnacle/contracts/errors').BinnacleError | undefined;
  readonly random?: () => number;
  readonly unreadAnswerMsMax?: number;
}

/** The forwarding half of a gateway on real sockets, with routes of the test's and a registry on embedded state. */
export class GatewayUnderTest {
  readonly folder = mkdtempSync(join(tmpdir(), 'binnacle-gateway-'));
  readonly state: EmbeddedClusterState;
  readonly directory: NodeDirectory;
  readonly lifecycle = new Lifecycle();
  readonly settings = new Settings();
  readonly registry = new Registry();
  readonly logged: { object: unknown; text: string }[] = [];
  readonly recorded: { route: Route; latencyMs: number }[] = [];
  readonly nodes: TestNode[] = [];
  readonly searchCache: string[] = [];
  overloadedCount = 0;
  retryBudget = new RetryBudget();
  upstreams!: Upstreams;
  listeners!: Listeners;
  #leaseOwners!: LeaseOwners;

  constructor(private readonly options: GatewayOptions) {
    // Time stands still for the registry only where the test says so.
    this.state = new EmbeddedClusterState(this.folder, options.clock ?? systemClock);
    this.directory = new NodeDirectory(this.state, options.clock ?? systemClock);
  }

  static async start(options: GatewayOptions): Promise<GatewayUnderTest> {
    const gateway = new GatewayUnderTest(options);
    await gateway.#start();
    return gateway;
  }

  async #start(): Promise<void> {
    const { routes = listenerRoutes('all'), clock = systemClock, ownHandler = answerText('own'), check = () => undefined, random } = this.options;
    const config = Object.assign(new GatewayConfig(), { port: 0, tiflashPort: 0, tiproxyPort: 0, gostatsdPort: 0, typesensePort: 0 }, this.options.config);
    await this.directory.start();
    const leases = new Set(routes.flatMap(({ target }) => (target.kind === 'lease-owner' ? [target.lease] : [])));
    this.#leaseOwners = new LeaseOwners(this.state, clock, leases);
    await this.#leaseOwners.start();
    const metrics = new ForwardingMetrics(this.registry, () => clock.monotonicMs());
    this.upstreams = new Upstreams({ directory: this.directory, clock, outstandingPerNodeMax: config.outstandingPerNodeMax });
    metrics.follow(() => this.upstreams.all());
    const log = {
      warn: (object: unknown, text: string) => void this.logged.push({ object, text }),
      error: (object: unknown, text: string) => void this.logged.push({ object, text }),
    } as never;
    const retryBudget = { countRequest: () => this.retryBudget.countRequest(), take: () => this.retryBudget.take() } as RetryBudget;
    const forwarder = new Forwarder({ upstreams: this.upstreams, retryBudget, clock, metrics, log, clusterSecret, ...(random && { random }) });
    const pipeline = new RequestPipeline({
      node: { id: 'gateway-0', lifecycle: this.lifecycle, clock, log, settings: { value: () => this.settings } as never },
      cluster: {
        ownId: 'gateway-0',
        all: () => this.directory.all(),
        byId: (id) => this.directory.byId(id),
        byRole: (role) => this.directory.byRole(role),
        leaseOwnerId: (lease) => this.#leaseOwners.ownerId(lease),
      },
      authentication: { check: (_request, _url, route) => check(route) },
      statistics: {
        record: (route, latencyMs) => void this.recorded.push({ route, latencyMs }),
        recordCache: (results) => void this.searchCache.push(results),
        overloaded: () => void this.overloadedCount++,
      },
      slowLog: { observe: () => undefined },
      metrics: new RequestMetrics(this.registry),
      ownNode: new OwnNode(ownHandler, clock, clusterSecret),
      forwarder,
      fanOut: new FanOut(forwarder),
    });
    this.listeners = new Listeners({
      config,
      clock,
      ...(this.options.unreadAnswerMsMax !== undefined && { unreadAnswerMsMax: this.options.unreadAnswerMsMax }),
      createServer: (handler, serverOptions) => http.createServer(serverOptions, handler),
      handler: (listener) => pipeline.handler(listener, this.options.routes?.filter(({ dialects }) => listener === 'all' || dialects.includes(listener)) ?? listenerRoutes(listener)),
    });
    await this.listeners.open();
    for (const status of ['Ready', 'Running'] as const) this.lifecycle.moveTo(status);
  }

  port(listener: ListenerName = 'all'): number {
    return this.listeners.ports().get(listener) as number;
  }

  url(path: string, listener: ListenerName = 'all'): string {
    return `http://127.0.0.1:${this.port(listener)}${path}`;
  }

  /** Starts a node and waits until the gateway knows it. */
  async addNode(id: string, handler: Handler, roles: readonly string[] = ['storage']): Promise<TestNode> {
    const node = new TestNode(id, roles, handler);
    this.nodes.push(node);
    await node.listen();
    await this.register(node.record());
    return node;
  }

  async register(record: NodeRecord): Promise<void> {
    await this.state.heartbeat(record, 600_000);
    await waitUntil(() => JSON.stringify(this.directory.byId(record.id)) === JSON.stringify(record), { what: `the gateway knows ${record.id}` });
  }

  async deregister(record: NodeRecord): Promise<void> {
    await this.state.deregister(record.id, record.incarnation);
    await waitUntil(() => this.directory.byId(record.id) === undefined, { what: `the gateway forgets ${record.id}` });
  }

  async metric(line: string): Promise<number> {
    const text = await this.registry.metrics();
    const found = text.split('\n').find((each) => each.startsWith(`${line} `));
    return found === undefined ? NaN : Number(found.slice(line.length + 1));
  }

  async stop(): Promise<void> {
    this.listeners.destroy();
    this.upstreams.stop();
    this.#leaseOwners.stop();
    this.directory.stop();
    await this.state.close();
    await Promise.all(this.nodes.map((node) => node.close()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export function answerText(text: string, status = 200): Handler {
  return (_request, response) => {
    response.writeHead(status, { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(text) }).end(text);
  };
}

/** Sends bytes as they are and collects what comes back until the server closes, or `until` matches. */
export async function raw(port: number, bytes: string, until?: RegExp): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let answer = '';
  const done = new Promise<void>((resolve, reject) => {
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString('latin1');
      if (until?.test(answer)) resolve();
    });
    socket.on('error', () => resolve());
    socket.on('close', () => resolve());
    socket.setTimeout(15_000, () => reject(new Error(`no end of the answer: ${answer}`)));
  });
  socket.write(bytes);
  try {
    await done;
  } finally {
    socket.destroy();
  }
  return answer;
}

export async function openSocket(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}
