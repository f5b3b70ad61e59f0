import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { ClusterHealth } from './cluster-health.js';
import { DeepCheck } from './deep-check.js';
import { HealthController } from './health.controller.js';

/** Whether the cluster can serve, and whether what it depends on is well. */
@Module({
  // Terminus would log every failed poll; DeepCheck logs changes.
  imports: [TerminusModule.forRoot({ logger: false })],
  controllers: [HealthController],
  providers: [
    ClusterHealth,
    DeepCheck,
    { provide: AgentClient, useFactory: (node: NodeContext) => new AgentClient(node), inject: [NodeContext] },
  ],
})
export class HealthModule {}
