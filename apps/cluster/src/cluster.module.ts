import { AgentClient } from '@binnacle/node-kit/agent-client';
import { EventLog } from '@binnacle/node-kit/event-log';
import { EventStreams } from '@binnacle/node-kit/event-streams';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Module } from '@nestjs/common';
import { ClusterController } from './cluster.controller.js';
import { ClusterSnapshot } from './cluster-snapshot.js';
import { ClusterView } from './cluster-view.js';
import type { ClusterChange } from './events/change.js';
import { ClusterWatch } from './events/cluster-watch.js';
import { EventsController } from './events/events.controller.js';
import { RemoteGcOwner } from './owner.js';
import { RegionLagsOfNodes } from './region-lags.js';
import { RemoteUpload } from './remote-upload.js';
import { Vote } from './vote.js';

/** 1,000 changes of about 300 bytes: a rolling restart of 100 nodes with room to spare. */
const eventsMax = 1_000;
/** Buffer: the largest replay (300 kB) and half as much again. All streams together: 50 MB at the worst. */
const streamLimits = { streamsMax: 100, bufferedBytesMax: 512 * 1024, heartbeatMs: 15_000, readAgain: '/api/v1/cluster' };

/** Membership, owner election, vote, and the events of the cluster. */
@Module({
  controllers: [ClusterController, EventsController],
  providers: [
    ClusterView,
    RemoteGcOwner,
    RemoteUpload,
    RegionLagsOfNodes,
    Vote,
    ClusterSnapshot,
    ClusterWatch,
    { provide: AgentClient, useFactory: (node: NodeContext) => new AgentClient(node), inject: [NodeContext] },
    { provide: EventLog, useFactory: (node: NodeContext) => new EventLog<ClusterChange>(node.clock, eventsMax), inject: [NodeContext] },
    {
      provide: EventStreams,
      useFactory: (node: NodeContext, log: EventLog<ClusterChange>) => {
        const streams = new EventStreams(log, node.clock, streamLimits);
        // Before any part drains: a gateway in this process would wait for its clients, and they for us.
        node.lifecycle.onChange((status) => status === 'Stopping' && void streams.drain());
        return streams;
      },
      inject: [NodeContext, EventLog],
    },
  ],
})
export class ClusterModule {}
