import { AgentClient } from '@binnacle/node-kit/agent-client';
import { EventLog } from '@binnacle/node-kit/event-log';
import { EventStreams } from '@binnacle/node-kit/event-streams';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Module } from '@nestjs/common';
import { CacheController } from './cache/cache.controller.js';
import { FileCache } from './cache/file-cache.js';
import { openFileCache } from './cache/open-file-cache.js';
import { Compaction } from './compaction.js';
import { Compute } from './compute/compute.js';
import { FreshRowsController } from './compute/fresh-rows.controller.js';
import { SqlController } from './compute/sql.controller.js';
import { DocumentRoutes } from './documents/document-routes.js';
import { DocumentWriter } from './documents/document-writer.js';
import { LargeDocuments } from './documents/large-documents.js';
import { MatchingRows } from './documents/matching-rows.js';
import { OtherNodes } from './documents/other-nodes.js';
import { RequestBodies } from './documents/request-bodies.js';
import { OperationsController } from './operations.controller.js';
import { LateRows } from './regions/late-rows.js';
import { LateRowsTaker } from './regions/late-rows-taker.js';
import { OwnRegions } from './regions/own-regions.js';
import { RegionLeader } from './regions/region-leader.js';
import { RegionRows } from './regions/region-rows.js';
import { Merger } from './remote/merger.js';
import { CatalogUpload } from './remote/catalog-upload.js';
import { Collector } from './remote/collector.js';
import { RegionLagView } from './remote/region-lag.js';
import { RemoteStore } from './remote/remote-store.js';
import { RemoteController } from './remote/remote.controller.js';
import { RestoredCatalog } from './remote/restored-catalog.js';
import { SyncController } from './remote/sync.controller.js';
import { Placement } from './regions/placement.js';
import { Uploader } from './remote/uploader.js';
import { RowStore } from './row-store.js';
import { ResultCache } from './search/result-cache.js';
import { SearchIndex } from './search/search-index.js';
import { SearchController } from './search/search.controller.js';
import { RestoredState } from './snapshot/restored-state.js';
import { SnapshotSchedule } from './snapshot/snapshot-schedule.js';
import { SnapshotController } from './snapshot/snapshot.controller.js';
import { Snapshots } from './snapshot/snapshots.js';
import { StorageCampaigns } from './storage-campaigns.js';
import { AliasesController } from './tables/aliases.controller.js';
import { Catalog } from './tables/catalog.js';
import { CollectionsController } from './tables/collections.controller.js';
import { DocumentCounts } from './tables/document-counts.js';
import { DroppedTables } from './tables/dropped-tables.js';
import { SchemaChange } from './tables/schema-change.js';
import { WriteNodes } from './tables/write-nodes.js';
import { TasksController } from './tasks.controller.js';
import { type TaskChange, Tasks } from './tasks.js';

/** 1,000 changes of about 500 bytes. A client behind by more than all of them is cut off. */
const taskEventsMax = 1_000;
const taskStreams = { streamsMax: 100, bufferedBytesMax: 1024 * 1024, heartbeatMs: 15_000, readAgain: '/api/v1/tasks' };

function uploaderOf(node: NodeContext, rows: RowStore, remote: RemoteStore, regions: OwnRegions): Uploader {
  const uploader = new Uploader({ node, rows, remote, manifests: regions.manifests, regions });
  const trimFailed = (error: unknown): void => node.log.debug({ err: error }, 'log objects of a region could not be removed; the collector takes them');
  uploader.onPublished(({ manifest }) => void regions.trimLog(manifest).catch(trimFailed));
  return uploader;
}

/** Tables of documents: the rows of this node, the catalog of all tables, the search index, and the election of who decides about them. */
@Module({
  controllers: [CollectionsController, AliasesController, SearchController, SnapshotController, SqlController, FreshRowsController, OperationsController, CacheController, RemoteController, SyncController, TasksController],
  providers: [
    // Parts start in this order: rows are recovered before anything asks for them.
    RowStore,
    RemoteStore,
    { provide: FileCache, useFactory: openFileCache, inject: [NodeContext, RemoteStore] },
    // Before the catalog reads it.
    RestoredState,
    RestoredCatalog,
    Catalog,
    OwnRegions,
    RegionRows,
    OtherNodes,
    ResultCache,
    SearchIndex,
    DroppedTables,
    SchemaChange,
    DocumentCounts,
    Placement,
    RegionLeader,
    LateRowsTaker,
    LateRows,
    { provide: Uploader, useFactory: uploaderOf, inject: [NodeContext, RowStore, RemoteStore, OwnRegions] },
    { provide: Merger, useFactory: (node: NodeContext, remote: RemoteStore, uploader: Uploader) => new Merger({ node, remote, uploader }), inject: [NodeContext, RemoteStore, Uploader] },
    Compute,
    CatalogUpload,
    Collector,
    RegionLagView,
    WriteNodes,
    DocumentCounts,
    LargeDocuments,
    DocumentWriter,
    MatchingRows,
    RequestBodies,
    DocumentRoutes,
    Snapshots,
    SnapshotSchedule,
    Compaction,
    { provide: Tasks, useFactory: (node: NodeContext, log: EventLog<TaskChange>) => new Tasks(node, log), inject: [NodeContext, EventLog] },
    { provide: EventLog, useFactory: (node: NodeContext) => new EventLog<TaskChange>(node.clock, taskEventsMax), inject: [NodeContext] },
    {
      provide: EventStreams,
      useFactory: (node: NodeContext, log: EventLog<TaskChange>) => {
        const streams = new EventStreams(log, node.clock, taskStreams);
        // Before any part drains: a gateway in this process would wait for its clients, and they for us.
        node.lifecycle.onChange((status) => status === 'Stopping' && void streams.drain());
        return streams;
      },
      inject: [NodeContext, EventLog],
    },
    StorageCampaigns,
    { provide: AgentClient, useFactory: (node: NodeContext) => new AgentClient(node), inject: [NodeContext] },
  ],
})
export class StorageModule {}
