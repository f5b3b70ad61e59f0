import type { Route } from '../route.js';
import {
  anyGateway,
  anyProxy,
  defineRoute,
  kibibyte,
  mebibyte,
  minuteMs,
  profiled,
  secondMs,
  self,
  type RouteFacts,
} from './define-route.js';
import { cpuQuery, goProfiles, profileFormat, trace } from './gostatsd.js';

/*
 * TiProxy's HTTP API. It writes its paths with a slash at the end, its README without: both are one path here and the gateway takes either.
 * Of the Go runtime's profiles those that mean nothing for Node.js (goroutine, block, mutex, threadcreate) are unknown paths, and so is
 * allocs: V8 tells of what lives, not of what was ever allocated.
 */

const get = (path: string, facts: RouteFacts): Route => defineRoute(['tiproxy'], 'GET', path, facts);

const toml = 'application/toml';

const admin: readonly Route[] = [
  get('/api/admin/config', {
    summary: "The settings of today and TiProxy's sections, as TOML",
    target: anyGateway,
    action: 'config:list',
    query: [{ name: 'format', type: 'string', description: '`json` for JSON, as does Accept: application/json.' }],
    produces: toml,
  }),
  defineRoute(['tiproxy'], 'PUT', '/api/admin/config', {
    summary: 'Merge TOML or JSON into the configuration: it persists and reaches every node',
    target: anyGateway,
    action: 'config:create',
    bodyBytesMax: mebibyte,
  }),
  get('/api/admin/namespace', { summary: 'All namespaces, as they were put', target: anyProxy, action: 'namespaces:list' }),
  get('/api/admin/namespace/:namespace', { summary: 'One namespace', target: anyProxy, action: 'namespaces:get' }),
  defineRoute(['tiproxy'], 'PUT', '/api/admin/namespace/:namespace', {
    summary: 'Create or replace a namespace',
    target: anyProxy,
    action: 'namespaces:create',
    bodyBytesMax: mebibyte,
  }),
  defineRoute(['tiproxy'], 'DELETE', '/api/admin/namespace/:namespace', {
    summary: 'Remove a namespace',
    target: anyProxy,
    action: 'namespaces:delete',
  }),
  defineRoute(['tiproxy'], 'POST', '/api/admin/namespace/commit', {
    summary: 'Put changed namespaces into effect',
    target: anyProxy,
    action: 'namespaces:create',
    query: [{ name: 'namespace', type: 'string', description: 'Only this one; may be given more than once.' }],
  }),
];

const sessions: readonly Route[] = [
  get('/api/backend/metrics', {
    summary: 'What the proxy has read of its backends',
    target: anyProxy,
    action: 'backends:list',
  }),
  // All three are about the SQL proxy's readiness for load balancers in front of port 6000; a gateway cannot answer for it.
  get('/api/debug/health', {
    summary: 'Whether the SQL proxy takes connections: 200 or 502',
    target: anyProxy,
    action: 'debug:list',
  }),
  defineRoute(['tiproxy'], 'PUT', '/api/debug/health', {
    summary: 'Report the SQL proxy as unhealthy',
    target: anyProxy,
    action: 'debug:create',
  }),
  defineRoute(['tiproxy'], 'DELETE', '/api/debug/health', {
    summary: 'Report the health of the SQL proxy as it is again',
    target: anyProxy,
    action: 'debug:create',
  }),
  defineRoute(['tiproxy'], 'POST', '/api/debug/redirect', {
    summary: 'Migrate the sessions of a proxy to other backends, so that each has its share',
    target: anyProxy,
    action: 'sessions:migrate',
    everyNode: true,
    deadlineMs: minuteMs,
  }),
  defineRoute(['tiproxy'], 'POST', '/api/traffic/capture', {
    summary: 'Write the traffic of all proxies to files: a form with `output`, `duration`, `encrypt-method`, `compress`',
    target: anyProxy,
    action: 'traffic:create',
    deadlineMs: minuteMs,
    bodyBytesMax: 64 * kibibyte,
    produces: 'text/plain; charset=utf-8',
  }),
  defineRoute(['tiproxy'], 'POST', '/api/traffic/replay', {
    summary: 'Replay captured traffic and compare: a form with `input`, `username`, `password`, `speed`, `readonly`, filters and thresholds',
    target: anyProxy,
    action: 'traffic:create',
    deadlineMs: minuteMs,
    bodyBytesMax: 64 * kibibyte,
    produces: 'text/plain; charset=utf-8',
  }),
  defineRoute(['tiproxy'], 'POST', '/api/traffic/cancel', {
    summary: 'End the capture or replay that runs, and wait for its end',
    target: anyProxy,
    action: 'traffic:delete',
    deadlineMs: 2 * minuteMs,
    produces: 'text/plain; charset=utf-8',
  }),
  get('/api/traffic/show', { summary: 'The last ten captures and replays, running and done', target: anyProxy, action: 'traffic:list' }),
  get('/api/traffic/report', {
    summary: 'What a replay found: digests, results, errors, latencies, plans and the verdict',
    target: anyProxy,
    action: 'traffic:get',
    deadlineMs: 30 * secondMs,
    query: [
      { name: 'job', type: 'string', description: 'Id of the replay, as /api/traffic/show has it; absent: the last one with a report.' },
      { name: 'format', type: 'string', description: '`json`, `html` or `text`; absent: what Accept asks for, else JSON.' },
    ],
  }),
];

const heap: RouteFacts = {
  ...goProfiles,
  summary: "Heap profile (V8's) of what set_prof_active has sampled, or over `seconds`",
  nodePath: '/go/pprof/heap',
  query: [{ name: 'seconds', type: 'number', description: 'How long to sample, 0.1 to 600; 0 if absent.' }, profileFormat],
};

const profiles: readonly Route[] = [
  get('/debug/pprof/heap', heap),
  ...['/debug/pprof', '/api/debug/pprof'].map((base) =>
    get(base, {
      summary: 'The profiles there are',
      target: profiled,
      action: 'profiles:list',
      nodePath: '/go/pprof',
      produces: 'text/html; charset=utf-8',
    }),
  ),
  get('/api/debug/pprof/profile', {
    ...goProfiles,
    summary: 'CPU profile in pprof format; waits while another one runs',
    nodePath: '/go/pprof/profile',
    query: cpuQuery,
  }),
  get('/api/debug/pprof/trace', trace),
  get('/api/debug/pprof/heap', heap),
  get('/api/debug/pprof/cmdline', {
    summary: 'Command line of a node, separated by NUL',
    target: profiled,
    action: 'debug:list',
    nodePath: '/debug/pprof/cmdline',
    produces: 'text/plain',
  }),
  get('/api/debug/pprof/symbol', {
    summary: 'Number of symbols, always 1',
    target: profiled,
    action: 'profiles:get',
    nodePath: '/debug/pprof/symbol',
    produces: 'text/plain',
  }),
  defineRoute(['tiproxy'], 'POST', '/api/debug/pprof/symbol', {
    summary: 'Names of the addresses in the body',
    target: profiled,
    action: 'profiles:get',
    retryable: true,
    nodePath: '/debug/pprof/symbol',
    bodyBytesMax: mebibyte,
    deadlineMs: 30 * secondMs,
    produces: 'text/plain',
  }),
];

export const tiproxyRoutes: readonly Route[] = [
  ...admin,
  ...sessions,
  ...profiles,
  get('/api/metrics', {
    summary: 'The same as /metrics',
    target: self,
    action: 'metrics:list',
    nodePath: '/metrics',
    produces: 'text/plain; version=0.0.4; charset=utf-8',
  }),
];
