import type { Route } from '@binnacle/contracts/route';
import { Settings } from '@binnacle/node-kit/settings';
import { expect, test } from '@jest/globals';
import type { IncomingMessage } from 'node:http';
import { SlowLog } from './slow-log.js';

const plain = { method: 'GET', path: '/debug' } as Route;
const search = { method: 'GET', path: '/collections/:collection/documents/search', operation: 'search' } as Route;

function observe(changes: Partial<Settings>, route: Route, latencyMs: number, url = '/debug'): string[] {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  const settings = { value: () => Object.assign(new Settings(), changes) };
  const slowLog = new SlowLog({ settings, log: { warn: write, info: write } } as never);
  slowLog.observe({ method: 'GET', url, socket: { remoteAddress: '10.1.2.3' } } as IncomingMessage, route, latencyMs);
  return lines;
}

test('by default nothing is logged, however slow', () => {
  expect(observe({}, plain, 3_600_000)).toEqual([]);
});

test('a request that takes as long as the threshold is logged with time, client, method, path and query', () => {
  expect(observe({ logSlowRequestsTimeMs: 2_000 }, plain, 1_999.9)).toEqual([]);
  expect(observe({ logSlowRequestsTimeMs: 2_000 }, plain, 2_000, '/debug?a=1')).toEqual(['SLOW REQUEST (2000 ms) 10.1.2.3 GET /debug?a=1']);
});

test('a threshold of 0 logs everything', () => {
  expect(observe({ logSlowRequestsTimeMs: 0 }, plain, 0)).toHaveLength(1);
});

test('the key is not in the line', () => {
  const [line] = observe({ logSlowRequestsTimeMs: 0 }, plain, 5, '/debug?x-typesense-api-key=s3cret&q=a');
  expect(line).toBe('SLOW REQUEST (5 ms) 10.1.2.3 GET /debug?q=a');
});

test('searches have a threshold of their own and do not count twice', () => {
  expect(observe({ logSlowSearchesTimeMs: 10 }, search, 10)).toHaveLength(1);
  expect(observe({ logSlowSearchesTimeMs: 10 }, plain, 10)).toHaveLength(0);
  expect(observe({ logSlowSearchesTimeMs: 10, logSlowRequestsTimeMs: 5 }, search, 10)).toHaveLength(1);
});

test('search logging writes every search and nothing else', () => {
  expect(observe({ enableSearchLogging: true }, search, 1, '/s?q=x')).toEqual(['SEARCH REQUEST (1 ms) 10.1.2.3 GET /s?q=x']);
  expect(observe({ enableSearchLogging: true }, plain, 1)).toEqual([]);
});

test('an endless query is cut', () => {
  const [line] = observe({ logSlowRequestsTimeMs: 0 }, plain, 5, `/debug?q=${'a'.repeat(10_000)}`);
  expect(line?.length).toBeLessThan(2_200);
});
