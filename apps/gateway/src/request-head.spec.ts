import type { IncomingMessage } from 'node:http';
import { expect, test } from '@jest/globals';
import { answerHeaders, forwardedHeaders, headerValue, requestIdOf } from './request-head.js';

const facts = { clusterSecret: 'secret', dialect: 'tiflash', isShared: false, requestId: 'id-1' } as const;

function request(...rawHeaders: string[]): IncomingMessage {
  const headers: Record<string, string> = {};
  for (let index = 0; index < rawHeaders.length; index += 2) headers[(rawHeaders[index] as string).toLowerCase()] = rawHeaders[index + 1] as string;
  return { rawHeaders, headers, socket: { remoteAddress: '192.0.2.7' } } as unknown as IncomingMessage;
}

const own = ['x-binnacle-cluster-secret', 'secret', 'x-binnacle-dialect', 'tiflash', 'x-request-id', 'id-1', 'x-forwarded-for', '192.0.2.7', 'x-forwarded-proto', 'http'];

test('a node gets the headers of the client after those of the gateway', () => {
  expect(forwardedHeaders(request('Host', 'h', 'Accept', 'text/x', 'ACCEPT', 'text/y'), false, facts)).toEqual([...own, 'host', 'h', 'accept', 'text/x', 'accept', 'text/y']);
});

test.each([
  ['Connection', 'keep-alive'],
  ['Keep-Alive', '5'],
  ['Proxy-Authorization', 'Basic x'],
  ['Transfer-Encoding', 'chunked'],
  ['Upgrade', 'h2c'],
  ['Expect', '100-continue'],
  ['Authorization', 'Bearer key'],
  ['X-TYPESENSE-API-KEY', 'key'],
  ['x-binnacle-api-key', 'key'],
  ['X-Binnacle-Cluster-Secret', 'guess'],
  ['X-Binnacle-Dialect', 'tiproxy'],
  ['X-Binnacle-Listener', 'all'],
  ['X-Binnacle-Node', 'storage-0'],
  ['X-Forwarded-Proto', 'https'],
])('%s is not passed on', (name, value) => {
  expect(forwardedHeaders(request(name, value), true, facts)).toEqual(own);
});

test('a node learns that a request came in on port 8080', () => {
  expect(headerValue(forwardedHeaders(request(), false, { ...facts, isShared: true }), 'x-binnacle-listener')).toBe('all');
});

test('the length is passed on with a body and only then', () => {
  expect(forwardedHeaders(request('Content-Length', '3'), true, facts)).toEqual([...own, 'content-length', '3']);
  expect(forwardedHeaders(request('Content-Length', '0'), false, facts)).toEqual(own);
});

test('Connection takes away what it names, but neither the length nor what the gateway says', () => {
  const headers = forwardedHeaders(request('Connection', 'X-Hop, content-length, x-binnacle-dialect', 'X-Hop', '1', 'Content-Length', '3'), true, facts);
  expect(headers).toEqual([...own, 'content-length', '3']);
});

test('an answer keeps names, values and repetitions, and loses what was for its connection', () => {
  const received = ['set-cookie', 'a', 'connection', 'close, X-Hop', 'x-hop', '1', 'transfer-encoding', 'chunked', 'set-cookie', 'b'];
  expect(answerHeaders(received)).toEqual(['set-cookie', 'a', 'set-cookie', 'b']);
});

test('a header is found by its name and not by somebody else\'s value', () => {
  expect(headerValue(['vary', 'content-length', 'content-length', '3'], 'content-length')).toBe('3');
  expect(headerValue(['vary', 'content-length'], 'content-length')).toBeUndefined();
});

test('request ids are kept if they are harmless, and made up otherwise, never twice the same', () => {
  expect(requestIdOf(request('x-request-id', 'abc-1:2/3='))).toBe('abc-1:2/3=');
  for (const id of ['', 'a b', 'a\tb', '<script>', 'x'.repeat(129)]) expect(requestIdOf(request('x-request-id', id))).toMatch(/^[0-9a-z]{8}-[0-9a-z]+$/);
  const made = Array.from({ length: 1_000 }, () => requestIdOf(request()));
  expect(new Set(made).size).toBe(1_000);
});
