import { dialects, type QueryParameter, type Route } from '../route.js';
import { anyCluster, anyComputeNode, anyGateway, anyProfiling, anyStorage, anyWriteNode, defineRoute, keptOfNodes, mebibyte, minuteMs, self, type RouteFacts } from './define-route.js';

/* Binnacle's own API, and what every listener answers. */

const everyDialect = ['binnacle', ...dialects.filter((dialect) => dialect !== 'binnacle')] as const;
const verbose: QueryParameter = {
  name: 'verbose',
  type: 'boolean',
  description: 'Lists every check; present without a value means true.',
};

const profileFilter: readonly QueryParameter[] = [
  { name: 'kind', type: 'string', description: 'cpu, heap (of V8) or native-heap (of jemalloc).' },
  { name: 'from', type: 'string', description: 'ISO 8601, UTC without a zone: profiles that were under way then or later.' },
  { name: 'to', type: 'string', description: 'The same: profiles that had begun by then.' },
];
const pprof = 'application/octet-stream';
const svg = 'image/svg+xml';

/** Of one kept profile, wherever it is kept; reading it and drawing it may take the renderer's minute. */
const ofProfile = (path: string, facts: Pick<RouteFacts, 'summary' | 'query' | 'produces'>): Route =>
  defineRoute(['binnacle'], 'GET', `/api/v1/profiles/${path}`, {
    target: anyProfiling,
    action: 'profiles:get',
    everyNode: false,
    deadlineMs: 2 * minuteMs,
    ...facts,
  });

const profileRoutes: readonly Route[] = [
  defineRoute(['binnacle'], 'GET', '/api/v1/profiles', {
    summary: 'Kept profiles, newest first; node=* are those of several nodes together',
    target: keptOfNodes,
    action: 'profiles:list',
    query: [...profileFilter, { name: 'limit', type: 'integer', description: 'How many: 1 to 1000; 100 if absent.' }],
  }),
  defineRoute(['binnacle'], 'GET', '/api/v1/profiles/merged', {
    summary: 'All kept profiles of a node and time as one',
    target: keptOfNodes,
    action: 'profiles:get',
    deadlineMs: 2 * minuteMs,
    query: [...profileFilter, { name: 'format', type: 'string', description: 'svg if absent; pprof, collapsed, json, top or text.' }],
    produces: svg,
  }),
  ofProfile(':id', {
    summary: 'A kept profile',
    query: [{ name: 'format', type: 'string', description: 'pprof if absent; svg, collapsed, json, top or text.' }],
    produces: pprof,
  }),
  ofProfile(':id/flame-graph', { summary: 'Flame graph of a kept profile', produces: svg }),
  ofProfile(':id/top', { summary: 'What each function of a kept profile costs' }),
  ofProfile(':base/diff/:other', {
    summary: 'What a kept profile has more, and less, than another one of its kind',
    query: [{ name: 'format', type: 'string', description: 'svg if absent, or pprof.' }],
    produces: svg,
  }),
];

/** Load balancers and Prometheus find these wherever they knock. */
export const commonRoutes: readonly Route[] = [
  defineRoute(everyDialect, 'GET', '/livez', {
    summary: 'Whether the node lives',
    target: self,
    action: 'public',
    produces: 'text/plain',
  }),
  defineRoute(everyDialect, 'GET', '/readyz', {
    summary: 'Whether the node takes requests',
    target: self,
    action: 'public',
    query: [verbose],
    produces: 'text/plain',
  }),
  defineRoute(['gostatsd', ...everyDialect.filter((dialect) => dialect !== 'gostatsd')], 'GET', '/healthcheck', {
    summary: 'Whether the node is healthy in itself: 200 or 500',
    target: self,
    action: 'public',
  }),
  // Not public: its labels tell node ids, addresses and who is busy. Prometheus sends a bearer token, or scrapes the node listener,
  // which serves it without a key inside the cluster's network.
  defineRoute(everyDialect, 'GET', '/metrics', {
    summary: 'Metrics in the Prometheus text format',
    target: self,
    action: 'metrics:list',
    anyCertificate: true,
    produces: 'text/plain; version=0.0.4; charset=utf-8',
  }),
];

export const binnacleRoutes: readonly Route[] = [
  defineRoute(['binnacle'], 'GET', '/api/v1/routes', {
    summary: 'Every route with its state',
    target: anyGateway,
    action: 'routes:list',
  }),
  defineRoute(['binnacle'], 'GET', '/api/v1/openapi.json', {
    summary: 'This document',
    target: anyGateway,
    action: 'openapi:get',
  }),
  defineRoute(['binnacle'], 'GET', '/api/v1/cluster', {
    summary: 'Nodes, roles, versions, leases, terms and lag',
    target: anyCluster,
    action: 'cluster:get',
  }),
  defineRoute(['binnacle'], 'GET', '/api/v1/cluster/events', {
    summary: 'Changes of the cluster as server-sent events',
    target: anyCluster,
    action: 'cluster:get',
    everyNode: false,
    produces: 'text/event-stream',
  }),
  defineRoute(['binnacle'], 'GET', '/api/v1/leases', {
    summary: 'Every lease with its owner and term',
    target: anyCluster,
    action: 'leases:list',
  }),
  defineRoute(['binnacle'], 'GET', '/api/v1/leases/:name/history', {
    summary: 'Who held a lease, when, and why it ended',
    target: anyCluster,
    action: 'leases:get',
    query: [{ name: 'limit', type: 'integer', description: 'How many tenures, newest first: 1 to 1000; 100 if absent.' }],
  }),
  ...profileRoutes,
  defineRoute(['binnacle'], 'POST', '/api/v1/sql', {
    summary: 'Run one SELECT, or EXPLAIN of one, over the tables of a keyspace',
    target: anyComputeNode,
    action: 'sql:query',
    deadlineMs: 2 * minuteMs,
    bodyBytesMax: mebibyte,
    query: [
      { name: 'keyspace', type: 'integer', description: 'Whose tables; 0 if absent.' },
      { name: 'format', type: 'string', description: 'json, csv, arrow or parquet; if absent the Accept header says, else json.' },
      { name: 'stale', type: 'boolean', description: 'Without the writes that are not in the remote store yet.' },
      { name: 'use_cache', type: 'boolean', description: 'A kept answer will do, if nothing was written since.' },
      { name: 'cache_ttl', type: 'integer', description: 'Seconds for which the answer may be kept; 60 if absent.' },
    ],
  }),
  defineRoute(['binnacle'], 'GET', '/api/v1/tasks', {
    summary: 'Long operations of a storage node: those that run, and the last that ended',
    target: anyStorage,
    action: 'tasks:list',
  }),
  defineRoute(['binnacle'], 'GET', '/api/v1/tasks/events', {
    summary: 'The same as server-sent events',
    target: anyStorage,
    action: 'tasks:list',
    everyNode: false,
    produces: 'text/event-stream',
  }),
  defineRoute(['binnacle'], 'GET', '/api/v1/remote/leaks', {
    summary: 'What nobody references in the remote store, and what becomes of it',
    target: anyWriteNode,
    action: 'remote:get',
    everyNode: false,
    deadlineMs: minuteMs,
  }),
];
