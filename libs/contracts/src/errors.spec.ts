import { describe, expect, test } from '@jest/globals';
import { BinnacleError, errorCodes, renderError, type ErrorCode } from './errors.js';
import { dialects, type Dialect } from './route.js';

const request = { method: 'GET', path: '/x' };
const rendered = (code: ErrorCode, dialect: Dialect, message = 'why') =>
  renderError(new BinnacleError(code, message), dialect, request);

describe('an error on the wire', () => {
  test.each([
    ['tiflash', 'ROUTE_NOT_FOUND', 404, 'text/plain', 'path not found: GET /x'],
    ['tiflash', 'METHOD_NOT_ALLOWED', 404, 'text/plain', 'path not found: GET /x'],
    ['tiflash', 'CERTIFICATE_ROLE', 403, 'text/plain', 'certificate role error'],
    ['tiflash', 'BAD_REQUEST', 400, 'text/plain', 'why'],
    ['gostatsd', 'ROUTE_NOT_FOUND', 404, 'text/plain; charset=utf-8', 'not found'],
    ['gostatsd', 'METHOD_NOT_ALLOWED', 405, undefined, ''],
    ['typesense', 'ROUTE_NOT_FOUND', 404, 'application/json; charset=utf-8', '{ "message": "Not Found"}'],
    ['typesense', 'METHOD_NOT_ALLOWED', 404, 'application/json; charset=utf-8', '{ "message": "Not Found"}'],
    [
      'typesense',
      'UNAUTHENTICATED',
      401,
      'application/json; charset=utf-8',
      '{"message": "Forbidden - a valid `x-typesense-api-key` header must be sent."}',
    ],
    ['typesense', 'NOT_READY', 503, 'application/json; charset=utf-8', '{ "message": "Not Ready or Lagging"}'],
    ['typesense', 'WRITES_SKIPPED', 422, 'application/json; charset=utf-8', '{"message": "Skipping writes."}'],
    ['typesense', 'SNAPSHOT_FAILED', 500, 'application/json; charset=utf-8', '{"error":"Copy failed.","success":false}'],
    ['typesense', 'OUT_OF_DISK', 422, 'application/json; charset=utf-8', '{"message":"why"}'],
    ['typesense', 'OUT_OF_MEMORY', 422, 'application/json; charset=utf-8', '{"message":"why"}'],
    ['binnacle', 'OUT_OF_DISK', 507, 'application/json; charset=utf-8', '{"error":{"code":"OUT_OF_DISK","message":"why"}}'],
    ['typesense', 'STORAGE_FAILED', 503, 'application/json; charset=utf-8', '{"message":"why"}'],
    ['typesense', 'NO_TARGET', 503, 'application/json; charset=utf-8', '{"message":"why"}'],
    ['tiproxy', 'ROUTE_NOT_FOUND', 404, 'application/json; charset=utf-8', '"not found"'],
    ['tiproxy', 'BAD_REQUEST', 400, 'application/json; charset=utf-8', '"why"'],
    [
      'binnacle',
      'METHOD_NOT_ALLOWED',
      405,
      'application/json; charset=utf-8',
      '{"error":{"code":"METHOD_NOT_ALLOWED","message":"why"}}',
    ],
    ['binnacle', 'UNKNOWN_NODE', 404, 'application/json; charset=utf-8', '{"error":{"code":"UNKNOWN_NODE","message":"why"}}'],
  ] as const)('in %s, %s is %i', (dialect, code, status, type, body) => {
    const answer = rendered(code, dialect);
    expect([answer.status, answer.headers['content-type'], answer.body]).toEqual([status, type, body]);
  });

  test.each([
    ['Bad JSON.', '{"message": "Bad JSON."}'],
    ['Configuration `k` must be an integer.', '{"message":"Configuration `k` must be an integer."}'],
  ])('in typesense, the space before a message is where Typesense has it: %s', (message, body) => {
    expect(rendered('BAD_REQUEST', 'typesense', message).body).toBe(body);
  });

  test.each(dialects)('in %s, every code has a status that says error', (dialect) => {
    for (const code of errorCodes) expect(rendered(code, dialect).status).toBeGreaterThanOrEqual(400);
  });

  test.each(dialects)('in %s, nothing but INTERNAL shows of an error that is not for clients', (dialect) => {
    for (const error of [
      new TypeError('redis://user:hunter2@host'),
      'hunter2',
      new BinnacleError('INTERNAL', 'hunter2'),
      undefined,
    ]) {
      const answer = renderError(error, dialect, request);
      expect(answer.status).toBe(500);
      expect(answer.body).toContain('internal error');
      expect(JSON.stringify(answer)).not.toContain('hunter2');
    }
  });

  test('keeps its cause for the log', () => {
    const error = new BinnacleError('UPSTREAM_UNREACHABLE', 'node a does not answer', {
      cause: new Error('ECONNREFUSED 10.0.0.7'),
    });
    expect((error.cause as Error).message).toBe('ECONNREFUSED 10.0.0.7');
    for (const dialect of dialects) expect(renderError(error, dialect, request).body).not.toContain('10.0.0.7');
  });

  test('says when to try again, in whole seconds and never before', () => {
    const answer = renderError(new BinnacleError('OVERLOADED', 'busy', { retryAfterS: 0.2 }), 'typesense', request);
    expect(answer.headers['retry-after']).toBe('1');
    expect(rendered('OVERLOADED', 'typesense').headers).not.toHaveProperty('retry-after');
  });

  test('never shows the query of a request, where a key may be, nor a path without end', () => {
    const answer = renderError(new BinnacleError('ROUTE_NOT_FOUND', ''), 'tiflash', {
      method: 'GET',
      path: '/x?x-typesense-api-key=secret',
    });
    expect(answer.body).toBe('path not found: GET /x');
    const long = renderError(new BinnacleError('ROUTE_NOT_FOUND', ''), 'tiflash', {
      method: 'GET',
      path: `/${'a'.repeat(10_000)}`,
    });
    expect(long.body.length).toBeLessThan(300);
  });
});

test.each(['gostatsd', 'binnacle'] as const)('a forwarder of another version hears which one is spoken: %s', (dialect) => {
  const bodyOf = (path: string) => renderError(new BinnacleError('ROUTE_NOT_FOUND', 'nothing'), dialect, { method: 'POST', path }).body;
  for (const path of ['/v0/raw', '/v3/event', '/v10/raw?x=1']) expect(bodyOf(path)).toContain('not found: versions 2 and 1 of this protocol are spoken here');
  for (const path of ['/v/raw', '/v1/raws', '/v1', '/x/v1/raw']) expect(bodyOf(path)).not.toContain('version');
});
