import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Module } from '@nestjs/common';
import { DocumentRoutes } from './documents/document-routes.js';
import { DocumentWriter } from './documents/document-writer.js';
import { LargeDocuments } from './documents/large-documents.js';
import { MatchingRows } from './documents/matching-rows.js';
import { RequestBodies } from './documents/request-bodies.js';
import { RowStore } from './row-store.js';
import { ResultCache } from './search/result-cache.js';
import { SearchIndex } from './search/search-index.js';
import { StorageCampaigns } from './storage-campaigns.js';
import { AliasesController } from './tables/aliases.controller.js';
import { Catalog } from './tables/catalog.js';
import { CollectionsController } from './tables/collections.controller.js';
import { DroppedTables } from './tables/dropped-tables.js';
import { SchemaChange } from './tables/schema-change.js';
import { WriteNodes } from './tables/write-nodes.js';

/** Tables of documents: the rows of this node, the catalog of all tables, the search index, and the election of who decides about them. */
@Module({
  controllers: [CollectionsController, AliasesController],
  providers: [
    // Parts start in this order: rows are recovered before anything asks for them.
    RowStore,
    Catalog,
    ResultCache,
    SearchIndex,
    DroppedTables,
    SchemaChange,
    WriteNodes,
    LargeDocuments,
    DocumentWriter,
    MatchingRows,
    RequestBodies,
    DocumentRoutes,
    StorageCampaigns,
    { provide: AgentClient, useFactory: (node: NodeContext) => new AgentClient(node), inject: [NodeContext] },
  ],
})
export class StorageModule {}
