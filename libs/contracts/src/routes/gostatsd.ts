import type { QueryParameter, Route } from '../route.js';
import { anyHealth, anyIngest, captureDeadlineMs, defineRoute, mebibyte, profiled, secondMs, self } from './define-route.js';

/* gostatsd's HTTP servers, and the Go runtime's profiles where gostatsd and TiProxy answer alike. */

const json = 'application/json; charset=utf-8';
const octets = 'application/octet-stream';
const format: QueryParameter = { name: 'format', type: 'string', description: 'pprof, svg, collapsed or json; pprof if absent.' };

export const gostatsdRoutes: readonly Route[] = [
  defineRoute(['gostatsd', 'tiproxy'], 'GET', '/debug/pprof/profile', {
    summary: 'CPU profile in pprof format; waits while another one runs',
    target: profiled,
    action: 'profiles:get',
    retryable: false,
    deadlineMs: captureDeadlineMs,
    query: [{ name: 'seconds', type: 'integer', description: 'How long to capture; 30 if absent or not positive.' }, format],
    produces: octets,
  }),
  defineRoute(['gostatsd', 'tiproxy'], 'GET', '/debug/pprof/trace', {
    summary: 'Execution trace',
    target: profiled,
    action: 'profiles:get',
    retryable: false,
    deadlineMs: captureDeadlineMs,
    query: [{ name: 'seconds', type: 'number', description: 'How long to trace; 30 if absent.' }],
    produces: octets,
  }),
  defineRoute(['gostatsd'], 'GET', '/debug/pprof/heap', {
    summary: 'Heap profile over a time',
    target: profiled,
    action: 'profiles:get',
    retryable: false,
    deadlineMs: captureDeadlineMs,
    query: [
      { name: 'seconds', type: 'integer', description: 'How long to sample; 30 if absent, 0 for the heap at this moment.' },
      format,
    ],
    produces: octets,
  }),
  defineRoute(['gostatsd'], 'GET', '/expvar', {
    summary: 'cmdline and memstats',
    target: self,
    action: 'expvar:list',
    state: 'served',
    produces: json,
  }),
  defineRoute(['gostatsd'], 'GET', '/deepcheck', {
    summary: 'Whether the dependencies are healthy: 200 or 500',
    target: anyHealth,
    action: 'deepcheck:get',
    state: 'served',
    deadlineMs: 15 * secondMs,
    produces: json,
  }),
  defineRoute(['gostatsd'], 'POST', '/v2/raw', {
    summary: 'Metrics from a gostatsd forwarder (protobuf)',
    target: anyIngest,
    action: 'metrics:create',
    operation: 'write',
    deadlineMs: 30 * secondMs,
    // As sent; what it may inflate to is the limit of the ingest role.
    bodyBytesMax: 16 * mebibyte,
    produces: 'text/plain',
  }),
  defineRoute(['gostatsd'], 'POST', '/v2/event', {
    summary: 'An event from a gostatsd forwarder (protobuf)',
    target: anyIngest,
    action: 'events:create',
    operation: 'write',
    bodyBytesMax: mebibyte,
    produces: 'text/plain',
  }),
];
