import type { QueryParameter, Route } from '../route.js';
import {
  aboutStorage,
  aboutStorageTogether,
  anyComputeNode,
  anyGateway,
  anyWriteNode,
  captureDeadlineMs,
  defineRoute,
  keptOfNode,
  kibibyte,
  mebibyte,
  minuteMs,
  profiled,
  profiledTogether,
  remoteGcOwner,
  secondMs,
  self,
  selfOfStorage,
  type RouteFacts,
} from './define-route.js';

/*
 * TiFlash's status port. Everything under `/tiflash/` is GET there, also what changes something: such a row says `retryable: false`.
 * The gateway takes `/tifash/`, a typo of the document, for `/tiflash/` before it looks here.
 */

const get = (path: string, facts: RouteFacts): Route => defineRoute(['tiflash'], 'GET', path, facts);
/** TiProxy, as every program with Go's profiles, has them too. */
const getAsInGo = (path: string, facts: RouteFacts): Route => defineRoute(['tiflash', 'tiproxy'], 'GET', path, facts);

const text = 'text/plain';
const json = 'application/json';

const verbose: QueryParameter = {
  name: 'verbose',
  type: 'boolean',
  description: 'Lists every check; present without a value means true.',
};
const seconds: QueryParameter = { name: 'seconds', type: 'number', description: 'How long to capture, 0.1 to 600; 10 if absent.' };
const frequency: QueryParameter = { name: 'frequency', type: 'integer', description: 'Samples a second, 1 to 1000; 99 if absent.' };
const source: QueryParameter = {
  name: 'source',
  type: 'string',
  description: '`v8` for the JavaScript heap, which needs no jemalloc; `jemalloc` if absent.',
};
const format: QueryParameter = {
  name: 'format',
  type: 'string',
  description: 'pprof, svg, collapsed or json; comes before what the dialect would answer.',
};

const profiles: readonly Route[] = [
  get('/debug/pprof/profile', {
    summary: 'CPU profile of a node: flame graph, or pprof with request Content-Type application/protobuf',
    target: profiledTogether,
    action: 'profiles:get',
    // A capture costs the profiled node something, and a second one would outlast what the client waits for.
    retryable: false,
    anyCertificate: true,
    deadlineMs: captureDeadlineMs,
    query: [seconds, frequency, format],
    produces: 'image/svg+xml',
  }),
  get('/debug/pprof/heap', {
    summary: 'Native heap profile at this moment; available after set_prof_active',
    target: profiledTogether,
    action: 'profiles:get',
    retryable: false,
    deadlineMs: captureDeadlineMs,
    query: [
      { name: 'jeprof', type: 'boolean', description: 'Rendered as `text` says instead of raw.' },
      { name: 'text', type: 'string', description: 'svg, text, raw or collapsed; anything else is svg.' },
      format,
      source,
      { name: 'seconds', type: 'number', description: 'With `source=v8`: samples for so long; 0 or absent takes what is sampled already.' },
    ],
    produces: 'application/octet-stream',
  }),
  get('/debug/pprof/set_prof_active', {
    summary: 'Start sampling allocations, native ones and those of V8',
    target: profiled,
    action: 'profiles:activate',
    retryable: false,
    query: [source],
    produces: text,
  }),
  get('/debug/pprof/set_prof_inactive', {
    summary: 'Stop sampling allocations',
    target: profiled,
    action: 'profiles:activate',
    retryable: false,
    query: [source],
    produces: text,
  }),
  get('/debug/pprof/heap_activate', {
    summary: 'Dump the native heap periodically',
    target: profiled,
    action: 'profiles:activate',
    retryable: false,
    query: [{ name: 'interval', type: 'integer', description: 'Seconds between dumps, 1 to 86400; 60 if absent.' }],
    produces: text,
  }),
  get('/debug/pprof/heap_list', {
    summary: 'The periodic heap dumps, newest first',
    target: keptOfNode,
    action: 'profiles:list',
    produces: text,
  }),
  get('/debug/pprof/heap_deactivate', {
    summary: 'Stop the periodic heap dumps and delete them',
    target: keptOfNode,
    action: 'profiles:activate',
    retryable: false,
    produces: text,
  }),
  getAsInGo('/debug/pprof/symbol', {
    summary: 'Number of symbols, always 1',
    target: profiled,
    action: 'profiles:get',
    produces: text,
  }),
  defineRoute(['tiflash', 'tiproxy'], 'POST', '/debug/pprof/symbol', {
    summary: 'Names of the addresses in the body (hexadecimal, joined by +)',
    target: profiled,
    action: 'profiles:get',
    retryable: true,
    bodyBytesMax: mebibyte,
    deadlineMs: 30 * secondMs,
    produces: text,
  }),
  get('/debug/pprof/arena_purge', {
    summary: "Give the allocator's free memory back",
    target: profiled,
    action: 'memory:purge',
    retryable: false,
    deadlineMs: 30 * secondMs,
    produces: text,
  }),
  get('/debug/pprof/memory_status', {
    summary: 'Statistics of the allocator',
    target: profiled,
    action: 'memory:get',
    deadlineMs: 30 * secondMs,
    produces: json,
  }),
  getAsInGo('/debug/pprof/cmdline', {
    summary: 'Command line of a node, separated by NUL',
    target: profiled,
    action: 'debug:list',
    produces: text,
  }),
];

const status: readonly Route[] = [
  get('/tiflash/store-status', {
    summary: 'Idle, Ready, Running, Stopping or Terminated',
    target: selfOfStorage,
    action: 'status:get',
    produces: text,
  }),
  get('/tiflash/livez', {
    summary: 'Whether the node lives',
    target: self,
    action: 'public',
    query: [verbose],
    produces: text,
  }),
  get('/tiflash/readyz', {
    summary: 'Whether the node takes requests',
    target: self,
    action: 'public',
    query: [verbose],
    produces: text,
  }),
  defineRoute(['tiflash'], 'PUT', '/log-level', {
    summary: 'Change the log level of a node',
    target: self,
    action: 'config:create',
    everyNode: true,
    produces: text,
  }),
];

/** A path that stops short of what it should name: TiFlash answers 400 in its words, not 404. */
const refused = (path: string): Route =>
  get(path, { summary: 'Refused: of what?', target: anyComputeNode, action: 'sync:get', produces: text });

const sync: readonly Route[] = [
  get('/tiflash/sync-status/:table', {
    summary: 'Regions of a table whose replica on the node lags two minutes at most',
    target: anyComputeNode,
    action: 'sync:get',
    produces: text,
  }),
  get('/tiflash/sync-status/keyspace/:keyspace/table/:table', {
    summary: "The same of a keyspace's table",
    target: anyComputeNode,
    action: 'sync:get',
    produces: text,
  }),
  get('/tiflash/sync-region/keyspace/:keyspace', {
    summary: 'Regions of a keyspace that the node has a replica of',
    target: anyComputeNode,
    action: 'sync:get',
    produces: json,
  }),
  get('/tiflash/sync-schema/keyspace/:keyspace/table/:table', {
    summary: 'Bring the schema of a table up to date',
    target: anyComputeNode,
    action: 'sync:create',
    retryable: false,
    deadlineMs: 30 * secondMs,
    produces: text,
  }),
  ...['/tiflash/sync-status', '/tiflash/sync-status/keyspace/:keyspace', '/tiflash/sync-region', '/tiflash/sync-region/keyspace'].map(refused),
];

const remoteStore: readonly Route[] = [
  get('/tiflash/remote/owner/info', {
    summary: 'Who owns the remote gc lease',
    target: aboutStorage,
    action: 'remote/owner:get',
    produces: json,
  }),
  get('/tiflash/remote/owner/resign', {
    summary: 'Give up the remote gc lease',
    target: aboutStorage,
    action: 'remote/owner:resign',
    // Sent twice it would also make the next owner resign.
    retryable: false,
    produces: json,
  }),
  get('/tiflash/remote/gc', {
    summary: 'Wake the collector of the remote store',
    target: remoteGcOwner,
    action: 'remote/gc:create',
    retryable: false,
    produces: json,
  }),
  get('/tiflash/remote/upload', {
    summary: 'Have everything uploaded: by the named node, by every write node if none is named',
    target: aboutStorageTogether,
    action: 'remote/upload:create',
    retryable: false,
    produces: json,
  }),
  get('/tiflash/remote/info', {
    summary: 'What every store keeps in the remote store',
    target: anyWriteNode,
    action: 'remote:get',
    deadlineMs: minuteMs,
    produces: json,
  }),
  get('/tiflash/remote/info/:stores', {
    summary: 'What the stores (ids joined by commas) keep in the remote store',
    target: anyWriteNode,
    action: 'remote:get',
    deadlineMs: minuteMs,
    produces: json,
  }),
];

const eviction: Pick<Route, 'target' | 'action' | 'retryable' | 'deadlineMs' | 'produces'> = {
  target: anyComputeNode,
  action: 'remote/cache:evict',
  retryable: false,
  deadlineMs: 2 * minuteMs,
  produces: json,
};

const caches: readonly Route[] = [
  get('/tiflash/cache/evict/mark', { ...eviction, action: 'cache:evict', summary: 'Empty the mark cache' }),
  get('/tiflash/cache/evict/minmax', { ...eviction, action: 'cache:evict', summary: 'Empty the minmax index cache' }),
  get('/tiflash/remote/cache/info', {
    summary: 'What the file cache holds, by file type and age',
    target: anyComputeNode,
    action: 'remote/cache:get',
    produces: json,
  }),
  // Without a suffix it answers 400 in the words of the dialect, not 404.
  get('/tiflash/remote/cache/evict', { ...eviction, summary: 'Refused: evict what?' }),
  get('/tiflash/remote/cache/evict/size/:size', {
    ...eviction,
    summary: 'Make so many bytes of the file cache free',
    query: [
      {
        name: 'force',
        type: 'boolean',
        description: 'Evict young files too when old ones are not enough; present means true unless 0 or false.',
      },
      { name: 'age', type: 'integer', description: 'Seconds a file must be unused; the configured age if absent.' },
    ],
  }),
  get('/tiflash/remote/cache/evict/type/:type', {
    ...eviction,
    summary: 'Evict every file of this type and of the types above it',
  }),
  get('/tiflash/remote/cache/evict/:type', { ...eviction, summary: 'The same as evict/type' }),
];

export const tiflashRoutes: readonly Route[] = [...profiles, ...status, ...sync, ...remoteStore, ...caches];

/** Paths that TiFlash and Typesense both have, with one behaviour for both. */
export const tiflashAndTypesenseRoutes: readonly Route[] = [
  defineRoute(['typesense', 'tiflash'], 'GET', '/status', {
    summary: 'LEADER or FOLLOWER, and how far it is',
    target: self,
    action: 'status:get',
    anyCertificate: true,
  }),
  defineRoute(['typesense', 'tiflash'], 'GET', '/config', {
    summary: 'The dynamic configuration',
    target: anyGateway,
    action: 'config:list',
  }),
  defineRoute(['typesense', 'tiflash'], 'POST', '/config', {
    summary: 'Change the dynamic configuration: all keys or none',
    target: anyGateway,
    action: 'config:create',
    bodyBytesMax: 64 * kibibyte,
  }),
];
