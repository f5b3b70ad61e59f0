import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Module } from '@nestjs/common';
import { GostatsdRoutes } from './gostatsd-routes.js';
import { IngestMetrics } from './ingest-metrics.js';
import { Ingest } from './ingest.js';
import { MetricsController } from './metrics.controller.js';
import { Receivers } from './receivers/receivers.js';

/** Metrics in, by statsd's lines and gostatsd's messages; their aggregates out. */
// Parts start in this order: lines are taken when it is known what becomes of them.
@Module({
  controllers: [MetricsController],
  providers: [{ provide: AgentClient, useFactory: (node: NodeContext) => new AgentClient(node), inject: [NodeContext] }, Ingest, GostatsdRoutes, Receivers, IngestMetrics],
})
export class IngestModule {}
