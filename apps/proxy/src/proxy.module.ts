import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Module } from '@nestjs/common';
import { DebugController } from './admin/debug.controller.js';
import { NamespacesController } from './admin/namespaces.controller.js';
import { ProxyOperations } from './admin/proxy-operations.js';
import { Backends } from './backends/backends.js';
import { ProxyMetrics } from './metrics/proxy-metrics.js';
import { BackendsAgentController, BackendsController } from './process/backends.controller.js';
import { DrainedBackends } from './process/drained-backends.js';
import { NodeOperations } from './process/operations.js';
import { ProxyPeers } from './process/proxy-peers.js';
import { SessionDirectory } from './process/session-directory.js';
import { ProxyAgentController, SessionsController } from './process/sessions.controller.js';
import { SqlProxy } from './process/sql-proxy.js';
import { settingsOfNode } from './settings/node-settings.js';
import { ProxySettings } from './settings/proxy-settings.js';
import { Namespaces } from './tenants/namespaces.js';
import { TrafficController } from './traffic/jobs/traffic.controller.js';
import { TrafficAgentController } from './traffic/jobs/traffic-agent.controller.js';
import { TrafficJobs } from './traffic/jobs/traffic-jobs.js';

/** The SQL proxy: the MySQL port, its sessions, and the backends they are on. */
@Module({
  controllers: [SessionsController, BackendsController, ProxyAgentController, BackendsAgentController, NamespacesController, DebugController, TrafficController, TrafficAgentController],
  providers: [
    // Parts start in this order: the port opens last, when it is known where to send whom.
    { provide: ProxySettings, useFactory: settingsOfNode, inject: [NodeContext] },
    { provide: ProxyMetrics, useFactory: (node: NodeContext, settings: ProxySettings) => new ProxyMetrics(node.clock, node.log, settings), inject: [NodeContext, ProxySettings] },
    Namespaces,
    DrainedBackends,
    { provide: AgentClient, useFactory: (node: NodeContext) => new AgentClient(node), inject: [NodeContext] },
    ProxyPeers,
    SqlProxy,
    { provide: ProxyOperations, useClass: NodeOperations },
    { provide: SessionDirectory, useFactory: (proxy: SqlProxy) => proxy.directory, inject: [SqlProxy] },
    TrafficJobs,
    { provide: Backends, useFactory: (proxy: SqlProxy) => proxy.backends, inject: [SqlProxy] },
  ],
})
export class ProxyModule {}
