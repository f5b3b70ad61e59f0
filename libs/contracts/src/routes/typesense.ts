import type { HttpMethod, QueryParameter, Route } from '../route.js';
import {
  aboutStorage,
  aboutStorageTogether,
  anyGateway,
  anyStorage,
  defineRoute,
  healthOfStorage,
  kibibyte,
  leader,
  mebibyte,
  minuteMs,
  secondMs,
  self,
  type RouteFacts,
} from './define-route.js';

/* Typesense's API, as far as Binnacle speaks it: cluster operations, keys, and collections with their documents. */

const route = (method: HttpMethod, path: string, facts: RouteFacts): Route => defineRoute(['typesense'], method, path, facts);

/** JSON, one a line; Typesense calls it text. */
const jsonLines = 'text/plain; charset=utf-8';
const filterBy: QueryParameter = { name: 'filter_by', type: 'string', description: 'Which documents, in filter syntax.' };
const writeAction: QueryParameter = {
  name: 'action',
  type: 'string',
  description: 'create, upsert, update or emplace; create if absent.',
};
const dirtyValues: QueryParameter = {
  name: 'dirty_values',
  type: 'string',
  description: 'What becomes of values of another type: coerce_or_reject (if absent), coerce_or_drop, drop or reject.',
};
const durability: QueryParameter = {
  name: 'durability',
  type: 'string',
  description: 'fsync (if absent): answered once it is on disk; none: answered before; remote: once the remote store has it, too.',
};
const fieldChoice: readonly QueryParameter[] = [
  { name: 'include_fields', type: 'string', description: 'Only these fields, separated by commas.' },
  { name: 'exclude_fields', type: 'string', description: 'Without these fields, separated by commas.' },
];

const operations: readonly Route[] = [
  route('POST', '/operations/snapshot', {
    summary: 'Write a snapshot of a node, or with node=* of all together; answers when it is complete',
    target: aboutStorageTogether,
    action: 'operations/snapshot:create',
    everyNode: true,
    deadlineMs: 30 * minuteMs,
    query: [
      { name: 'snapshot_path', type: 'string', description: 'Folder on the node, under a configured root, or `remote:NAME` in the remote store; with node=* each node makes one of its name in it.', required: true },
    ],
  }),
  route('POST', '/operations/db/compact', {
    summary: 'Compact the storage engine; answers when done',
    target: anyStorage,
    action: 'operations/db/compact:create',
    everyNode: true,
    deadlineMs: 30 * minuteMs,
  }),
  route('POST', '/operations/vote', {
    summary: 'Make the named storage node the leader',
    target: aboutStorage,
    action: 'operations/vote:create',
    // A whole term may have to pass until the leader is known to be gone.
    deadlineMs: 30 * secondMs,
  }),
  route('POST', '/operations/cache/clear', {
    summary: 'Empty the search cache',
    target: anyStorage,
    action: 'operations/cache/clear:create',
    everyNode: true,
  }),
  route('POST', '/operations/reset_peers', {
    summary: 'Read the list of nodes afresh',
    target: anyStorage,
    action: 'operations/reset_peers:create',
  }),
  route('GET', '/operations/schema_changes', {
    summary: 'Schema changes under way',
    target: anyStorage,
    action: 'operations/schema_changes:list',
  }),
];

const reports: readonly Route[] = [
  route('GET', '/metrics.json', {
    summary: 'CPU, memory, disk and network of a node',
    target: self,
    action: 'metrics.json:list',
  }),
  route('GET', '/stats.json', {
    summary: 'Requests a second and latencies over the last 10 s',
    target: anyGateway,
    action: 'stats.json:list',
  }),
  route('GET', '/health', { summary: 'Whether requests can be answered', target: healthOfStorage, action: 'public' }),
  route('GET', '/debug', {
    summary: 'Version, and whether the node is the leader (1) or a follower (4)',
    target: self,
    action: 'debug:list',
  }),
];

const keys: readonly Route[] = [
  route('GET', '/keys', { summary: 'All API keys, by prefix', target: anyGateway, action: 'keys:list' }),
  route('POST', '/keys', {
    summary: 'Make an API key; the only answer that shows it',
    target: anyGateway,
    action: 'keys:create',
    bodyBytesMax: 64 * kibibyte,
  }),
  route('GET', '/keys/:id', { summary: 'One API key, by prefix', target: anyGateway, action: 'keys:get' }),
  route('DELETE', '/keys/:id', { summary: 'Revoke an API key', target: anyGateway, action: 'keys:delete' }),
];

const collections: readonly Route[] = [
  route('GET', '/collections', { summary: 'All collections', target: anyStorage, action: 'collections:list' }),
  route('POST', '/collections', {
    summary: 'Create a collection',
    target: leader,
    action: 'collections:create',
    operation: 'write',
    bodyBytesMax: mebibyte,
  }),
  route('GET', '/collections/:collection', { summary: 'One collection', target: anyStorage, action: 'collections:get' }),
  route('PATCH', '/collections/:collection', {
    summary: 'Change the schema of a collection',
    target: leader,
    action: 'collections:update',
    operation: 'write',
    deadlineMs: 10 * minuteMs,
    bodyBytesMax: mebibyte,
  }),
  route('DELETE', '/collections/:collection', {
    summary: 'Drop a collection',
    target: leader,
    action: 'collections:delete',
    operation: 'delete',
    deadlineMs: minuteMs,
  }),
  route('GET', '/aliases', { summary: 'All aliases', target: anyStorage, action: 'aliases:list' }),
  route('GET', '/aliases/:alias', { summary: 'One alias', target: anyStorage, action: 'aliases:get' }),
  route('PUT', '/aliases/:alias', {
    summary: 'Create an alias or point it elsewhere',
    target: leader,
    action: 'aliases:create',
    operation: 'write',
  }),
  route('DELETE', '/aliases/:alias', {
    summary: 'Remove an alias',
    target: leader,
    action: 'aliases:delete',
    operation: 'delete',
  }),
];

const documents: readonly Route[] = [
  route('POST', '/collections/:collection/documents', {
    summary: 'Write a document',
    target: anyStorage,
    action: 'documents:create',
    operation: 'write',
    query: [writeAction, dirtyValues, durability],
    bodyBytesMax: 16 * mebibyte,
  }),
  route('PATCH', '/collections/:collection/documents', {
    summary: 'Change the documents that match',
    target: anyStorage,
    action: 'documents:update',
    operation: 'write',
    deadlineMs: 10 * minuteMs,
    query: [filterBy, dirtyValues, durability],
    bodyBytesMax: mebibyte,
  }),
  route('DELETE', '/collections/:collection/documents', {
    summary: 'Delete the documents that match',
    target: anyStorage,
    action: 'documents:delete',
    operation: 'delete',
    deadlineMs: 10 * minuteMs,
    query: [filterBy, { name: 'truncate', type: 'boolean', description: 'All documents, instead of a filter.' }, durability],
  }),
  route('POST', '/collections/:collection/documents/import', {
    summary: 'Write many documents, one a line',
    target: anyStorage,
    action: 'documents:import',
    operation: 'import',
    deadlineMs: 10 * minuteMs,
    query: [
      writeAction,
      dirtyValues,
      durability,
      { name: 'batch_size', type: 'integer', description: 'Documents written together: 1 to 250; 250 if absent, and for more.' },
      { name: 'return_doc', type: 'boolean', description: 'Each result has the document as it is kept.' },
      { name: 'return_id', type: 'boolean', description: 'Each result has the id.' },
    ],
    // It streams: the limit keeps one request from filling a disk, not memory.
    bodyBytesMax: 16 * 1_024 * mebibyte,
    produces: jsonLines,
  }),
  route('GET', '/collections/:collection/documents/export', {
    summary: 'Read all documents, one a line',
    target: anyStorage,
    action: 'documents:export',
    deadlineMs: minuteMs,
    query: [filterBy, ...fieldChoice],
    produces: jsonLines,
  }),
  route('GET', '/collections/:collection/documents/search', {
    summary: 'Search a collection',
    target: anyStorage,
    action: 'documents:search',
    operation: 'search',
    deadlineMs: 30 * secondMs,
    query: [
      { name: 'q', type: 'string', description: 'What to search for.' },
      { name: 'query_by', type: 'string', description: 'In which fields.' },
      filterBy,
      { name: 'sort_by', type: 'string', description: 'Fields and directions.' },
      { name: 'page', type: 'integer', description: 'Which page; 1 if absent.' },
      { name: 'per_page', type: 'integer', description: 'Hits a page; 10 if absent.' },
      { name: 'facet_by', type: 'string', description: 'Fields whose values are counted.' },
      { name: 'include_fields', type: 'string', description: 'Only these fields of the documents.' },
      { name: 'exclude_fields', type: 'string', description: 'Not these fields of the documents.' },
      { name: 'cache_ttl', type: 'integer', description: 'Seconds for which the answer may be kept; 60 if absent.' },
      { name: 'use_cache', type: 'boolean', description: 'Answer from the search cache where it can.' },
    ],
  }),
  route('GET', '/collections/:collection/documents/:document', {
    summary: 'One document',
    target: anyStorage,
    action: 'documents:get',
    query: fieldChoice,
  }),
  route('PATCH', '/collections/:collection/documents/:document', {
    summary: 'Change a document',
    target: anyStorage,
    action: 'documents:update',
    operation: 'write',
    query: [dirtyValues, durability],
    bodyBytesMax: 16 * mebibyte,
  }),
  route('DELETE', '/collections/:collection/documents/:document', {
    summary: 'Delete a document',
    target: anyStorage,
    action: 'documents:delete',
    operation: 'delete',
    query: [{ name: 'ignore_not_found', type: 'boolean', description: 'Answers 200 also when there is none.' }, durability],
  }),
  route('POST', '/multi_search', {
    summary: 'Several searches in one request',
    target: anyStorage,
    action: 'documents:search',
    operation: 'search',
    retryable: true,
    deadlineMs: 30 * secondMs,
    bodyBytesMax: mebibyte,
  }),
];

export const typesenseRoutes: readonly Route[] = [...operations, ...reports, ...keys, ...collections, ...documents];
