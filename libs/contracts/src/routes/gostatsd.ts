import type { QueryParameter, Route } from '../route.js';
import {
  anyHealth,
  anyIngest,
  captureDeadlineMs,
  defineRoute,
  mebibyte,
  profiled,
  profiledTogether,
  secondMs,
  self,
  type RouteFacts,
} from './define-route.js';

/* gostatsd's HTTP servers, and the Go runtime's profiles where gostatsd and TiProxy answer alike. */

const json = 'application/json; charset=utf-8';
const octets = 'application/octet-stream';
export const profileFormat: QueryParameter = { name: 'format', type: 'string', description: 'pprof, svg, collapsed or json; pprof if absent.' };

/** One handler for both dialects, apart from TiFlash's of the same path. */
export const goProfiles: Pick<Route, 'target' | 'action' | 'retryable' | 'deadlineMs' | 'produces'> = {
  target: profiledTogether,
  action: 'profiles:get',
  retryable: false,
  deadlineMs: captureDeadlineMs,
  produces: octets,
};
export const cpuQuery: readonly QueryParameter[] = [
  { name: 'seconds', type: 'number', description: 'How long to capture, 0.1 to 600; 30 if absent or not positive.' },
  { name: 'frequency', type: 'integer', description: 'Samples a second, 1 to 1000; 99 if absent.' },
  profileFormat,
];
/** Not of every node at once: traces do not merge, and one is larger than all that `node=*` collects. */
export const trace: RouteFacts = {
  ...goProfiles,
  summary: 'Execution trace',
  target: profiled,
  everyNode: false,
  nodePath: '/go/pprof/trace',
  query: [{ name: 'seconds', type: 'number', description: 'How long to trace, 0.1 to 120; 30 if absent.' }],
};

const raw: RouteFacts = {
  summary: 'Metrics from a gostatsd forwarder (protobuf)',
  target: anyIngest,
  byIdempotencyKey: true,
  action: 'metrics:create',
  operation: 'write',
  deadlineMs: 30 * secondMs,
  // As sent; what it may inflate to is the limit of the ingest role.
  bodyBytesMax: 16 * mebibyte,
  produces: 'text/plain',
};
const event: RouteFacts = {
  summary: 'An event from a gostatsd forwarder (protobuf)',
  target: anyIngest,
  byIdempotencyKey: true,
  action: 'events:create',
  operation: 'write',
  bodyBytesMax: mebibyte,
  produces: 'text/plain',
};

export const gostatsdRoutes: readonly Route[] = [
  defineRoute(['gostatsd', 'tiproxy'], 'GET', '/debug/pprof/profile', {
    ...goProfiles,
    summary: 'CPU profile in pprof format; waits while another one runs',
    nodePath: '/go/pprof/profile',
    query: cpuQuery,
  }),
  defineRoute(['gostatsd', 'tiproxy'], 'GET', '/debug/pprof/trace', trace),
  defineRoute(['gostatsd'], 'GET', '/debug/pprof/heap', {
    ...goProfiles,
    summary: "Heap profile (V8's) over a time",
    nodePath: '/go/pprof/heap',
    query: [
      { name: 'seconds', type: 'number', description: 'How long to sample, 0.1 to 600, 30 if absent; 0 takes what set_prof_active has sampled.' },
      profileFormat,
    ],
  }),
  defineRoute(['gostatsd'], 'GET', '/expvar', {
    summary: 'cmdline, memstats, and figures of the roles that have some',
    target: self,
    action: 'expvar:list',
    produces: json,
  }),
  defineRoute(['gostatsd'], 'GET', '/deepcheck', {
    summary: 'Whether the dependencies are healthy: 200 or 500',
    target: anyHealth,
    action: 'deepcheck:get',
    deadlineMs: 15 * secondMs,
    produces: json,
  }),
  defineRoute(['gostatsd'], 'POST', '/v2/raw', raw),
  defineRoute(['gostatsd'], 'POST', '/v2/event', event),
  defineRoute(['gostatsd'], 'POST', '/v1/raw', { ...raw, summary: 'Metrics from a forwarder of version 1 of the protocol' }),
  defineRoute(['gostatsd'], 'POST', '/v1/event', { ...event, summary: 'An event from a forwarder of version 1 of the protocol' }),
  // What nodes say of themselves is at `/metrics`.
  defineRoute(['gostatsd'], 'GET', '/metrics/ingested', {
    summary: 'What was ingested, in the Prometheus text format or in OpenMetrics',
    target: anyIngest,
    action: 'metrics:list',
    deadlineMs: 30 * secondMs,
    produces: 'text/plain; version=0.0.4; charset=utf-8',
  }),
];
