import { listenerRoutes, routes } from '@binnacle/contracts/routes';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyInstance } from 'fastify';
import { Gauge } from 'prom-client';
import { ApiStatistics } from './api-statistics.js';
import { Authentication } from './authentication.js';
import { FanOut } from './fan-out.js';
import { Forwarder } from './forward.js';
import { ForwardingMetrics } from './forwarding-metrics.js';
import { LeaseOwners } from './lease-owners.js';
import { Listeners } from './listeners.js';
import { OwnNode } from './own-node.js';
import { RequestMetrics } from './request-metrics.js';
import { RequestPipeline } from './request-pipeline.js';
import { RetryBudget } from './retry-budget.js';
import { SlowLog } from './slow-log.js';
import { TlsMaterial } from './tls-material.js';
import { Upstreams } from './upstream.js';

/** The gateway of a node: puts its parts together, opens the public listeners with the node and drains them with it. */
@Injectable()
export class Gateway {
  #listeners: Listeners | undefined;
  #upstreams: Upstreams | undefined;
  #pipeline: RequestPipeline | undefined;
  readonly #leaseOwners: LeaseOwners;

  constructor(
    private readonly node: NodeContext,
    private readonly adapterHost: HttpAdapterHost,
    private readonly authentication: Authentication,
    private readonly statistics: ApiStatistics,
    private readonly slowLog: SlowLog,
    private readonly tls: TlsMaterial,
  ) {
    this.#leaseOwners = new LeaseOwners(node.state, node.clock, followedLeases());
    node.addPart({
      name: 'gateway',
      start: () => this.#start(),
      drain: () => this.#drain(),
      stop: () => this.#stop(),
    });
  }

  async #start(): Promise<void> {
    const { node } = this;
    await this.#leaseOwners.start();
    const pipeline = this.#createPipeline();
    this.#pipeline = pipeline;
    this.#listeners = new Listeners({
      config: node.config.gateway,
      clock: node.clock,
      createServer: (handler, options) => this.tls.createServer(handler, options),
      handler: (listener) => pipeline.handler(listener, listenerRoutes(listener)),
    });
    await this.#listeners.open();
    const listeners = this.#listeners;
    // When the shutdown's deadline came first, what still runs is cut off.
    node.lifecycle.onChange((status) => status === 'Terminated' && listeners.destroy());
    for (const [name, port] of listeners.ports()) {
      node.labels[name === 'all' ? 'gateway-port' : `${name}-port`] = String(port);
      node.log.info({ listener: name, host: node.config.gateway.host, port, tls: this.tls.enabled }, 'public listener open');
    }
    new Gauge({
      name: 'binnacle_gateway_connections',
      help: 'Open connections of clients, over all public listeners.',
      registers: [node.metrics],
      collect() {
        this.set(listeners.connectionCount());
      },
    });
  }

  #createPipeline(): RequestPipeline {
    const { node, authentication, statistics, slowLog } = this;
    const { clock, clusterSecret, log, directory } = node;
    const metrics = new ForwardingMetrics(node.metrics, () => clock.monotonicMs());
    const upstreams = new Upstreams({ directory, clock, outstandingPerNodeMax: node.config.gateway.outstandingPerNodeMax });
    metrics.follow(() => upstreams.all());
    this.#upstreams = upstreams;
    const forwarder = new Forwarder({ upstreams, retryBudget: new RetryBudget(), clock, metrics, log, clusterSecret });
    const fastify = this.adapterHost.httpAdapter.getInstance<FastifyInstance>();
    return new RequestPipeline({
      node,
      cluster: {
        ownId: node.id,
        all: () => directory.all(),
        byId: (id) => directory.byId(id),
        byRole: (role) => directory.byRole(role),
        leaseOwnerId: (lease) => this.#leaseOwners.ownerId(lease),
      },
      authentication,
      statistics,
      slowLog,
      metrics: new RequestMetrics(node.metrics),
      ownNode: new OwnNode((request, response) => fastify.routing(request, response), clock, clusterSecret),
      forwarder,
      fanOut: new FanOut(forwarder),
    });
  }

  async #drain(): Promise<void> {
    const closed = this.#listeners?.close();
    this.#pipeline?.endEventStreams();
    await closed;
  }

  async #stop(): Promise<void> {
    this.#listeners?.destroy();
    this.#leaseOwners.stop();
    this.#upstreams?.stop();
  }
}

function followedLeases(): Set<string> {
  return new Set(routes.flatMap(({ target }) => (target.kind === 'lease-owner' ? [target.lease] : [])));
}
