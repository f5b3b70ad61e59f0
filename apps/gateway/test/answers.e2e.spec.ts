import { afterEach, describe, expect, test } from '@jest/globals';
import { BinnacleError } from '@binnacle/contracts/errors';
import { answerText, GatewayUnderTest, raw, testRoute, type GatewayOptions } from './gateway-under-test.js';

let gateway: GatewayUnderTest;
const start = async (options: GatewayOptions = {}) => (gateway = await GatewayUnderTest.start(options));
afterEach(() => gateway.stop());

const shown = async (response: Response) => [response.status, response.headers.get('content-type'), await response.text()];

describe('what is no route', () => {
  test.each([
    ['all', 404, 'application/json; charset=utf-8', expect.stringContaining('"ROUTE_NOT_FOUND"')],
    ['tiflash', 404, 'text/plain', 'path not found: GET /no/such'],
    ['tiproxy', 404, 'application/json; charset=utf-8', '"not found"'],
    ['gostatsd', 404, 'text/plain; charset=utf-8', 'not found'],
    ['typesense', 404, 'application/json; charset=utf-8', '{ "message": "Not Found"}'],
  ] as const)('an unknown path on the listener %s', async (listener, ...expected) => {
    await start();
    expect(await shown(await fetch(gateway.url('/no/such?key=1', listener)))).toEqual(expected);
  });

  test.each([
    ['tiflash', '/tiflash/livez', 404, 'path not found: DELETE /tiflash/livez', null],
    ['gostatsd', '/v2/raw', 405, '', 'POST'],
    ['typesense', '/health', 404, '{ "message": "Not Found"}', null],
    ['all', '/api/v1/leases', 405, expect.stringContaining('"METHOD_NOT_ALLOWED"'), 'GET, HEAD'],
  ] as const)('a wrong method on the listener %s', async (listener, path, status, body, allow) => {
    await start();
    const response = await fetch(gateway.url(path, listener), { method: 'DELETE' });
    expect([response.status, await response.text(), response.headers.get('allow')]).toEqual([status, body, allow]);
  });
});

describe('what is refused before a node is asked', () => {
  test('a request without the right', async () => {
    await start({ check: (route) => (route.action === 'public' ? undefined : new BinnacleError('UNAUTHENTICATED', 'no key')) });
    expect((await fetch(gateway.url('/v2/raw', 'gostatsd'), { method: 'POST' })).status).toBe(401);
    expect((await fetch(gateway.url('/livez'))).status).toBe(200);
    // A public path tells nothing of other nodes to somebody without a key.
    const named = await fetch(gateway.url('/livez?node=*'));
    expect(named.status).toBe(401);
  });

  test('writes while skip-writes is on, and only those', async () => {
    const routes = (['search', 'import', 'write', 'delete', undefined] as const).map((operation) =>
      testRoute({ path: `/${operation}`, dialects: ['typesense'], target: { kind: 'self' }, ...(operation && { operation }) }),
    );
    await start({ routes });
    gateway.settings.skipWrites = true;
    const status = async (path: string) => (await fetch(gateway.url(path, 'typesense'))).status;
    expect(await Promise.all(['/search', '/import', '/write', '/delete', '/undefined'].map(status))).toEqual([200, 422, 422, 422, 200]);
    expect(await (await fetch(gateway.url('/write', 'typesense'))).text()).toBe('{"message": "Skipping writes."}');
  });

  test('a body that says it is too long, without waiting for it', async () => {
    await start({ routes: [testRoute({ path: '/take', method: 'POST', bodyBytesMax: 10 })] });
    const answer = await raw(gateway.port(), 'POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer).toMatch(/\r\nconnection: close\r\n/i);
  });

  test('a small body that nobody reads does not cost the connection', async () => {
    await start({ routes: [testRoute({ path: '/take', method: 'POST', bodyBytesMax: 10 })] });
    const request = 'POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n01234567890123456789';
    expect((await raw(gateway.port(), request + request, /413[^]*413 /)).match(/HTTP\/1\.1 413/g)).toHaveLength(2);
  });

  test('two names for the target', async () => {
    await start();
    await gateway.addNode('storage-0', answerText('a'));
    const both = (query: string, header: string) => fetch(gateway.url(`/metrics.json?node=${query}`), { headers: { 'x-binnacle-node': header } });
    expect((await both('storage-0', 'storage-1')).status).toBe(400);
    expect((await both('storage-0', 'storage-0')).status).toBe(200);
  });
});

describe('what this process answers itself', () => {
  test('HEAD has the head of GET and no body', async () => {
    await start({ ownHandler: answerText('sixteen letters!') });
    const answer = await raw(gateway.port(), 'HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*content-length: 16\r\n[^]*\r\n\r\n$/i);
  });

  test('it sees the dialect, the secret and a request id, and no key', async () => {
    let seen: unknown;
    await start({
      ownHandler: (request, response) => {
        seen = { url: request.url, ...request.headers };
        response.end();
      },
    });
    const headers = { 'x-typesense-api-key': 'k', authorization: 'Bearer k', 'x-binnacle-dialect': 'tiproxy', 'x-request-id': 'mine-1' };
    const response = await fetch(gateway.url('/debug?x=1&x-typesense-api-key=k', 'typesense'), { headers });
    expect(seen).toMatchObject({ url: '/debug?x=1', 'x-binnacle-dialect': 'typesense', 'x-request-id': 'mine-1', 'x-forwarded-for': '127.0.0.1' });
    expect(seen).toHaveProperty('x-binnacle-cluster-secret');
    expect(JSON.stringify(seen)).not.toMatch(/Bearer|"k"/);
    expect(response.headers.get('x-request-id')).toBe('mine-1');
  });

  test('a request id that could do harm is replaced', async () => {
    await start();
    const response = await fetch(gateway.url('/livez'), { headers: { 'x-request-id': 'a b"c' } });
    expect(response.headers.get('x-request-id')).toMatch(/^\w{8}-\w+$/);
  });
});

test('requests are counted by template, dialect and status class, whatever their paths', async () => {
  await start();
  for (let attempt = 0; attempt < 3; attempt++) await (await fetch(gateway.url(`/made/up/${attempt}`))).text();
  await (await fetch(gateway.url('/livez'))).text();
  const counted = (labels: string) => gateway.metric(`binnacle_gateway_request_duration_seconds_count{${labels}}`);
  expect(await counted('route="unmatched",dialect="binnacle",status="4xx"')).toBe(3);
  expect(await counted('route="/livez",dialect="binnacle",status="2xx"')).toBe(1);
  expect(gateway.recorded.map(({ route }) => route.path)).toEqual(['/livez']);
});
