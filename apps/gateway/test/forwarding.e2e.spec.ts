import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { freePort } from '@binnacle/testing/free-port';
import { waitUntil } from '@binnacle/testing/wait-until';
import { uploadIdleMsMax } from '../src/upload.js';
import { answerText, GatewayUnderTest, openSocket, raw, TestNode, testRoute } from './gateway-under-test.js';

const routes = [
  testRoute({ path: '/get' }),
  testRoute({ path: '/once', retryable: false }),
  testRoute({ path: '/post', method: 'POST', bodyBytesMax: 1_000_000 }),
  testRoute({ path: '/stream', deadlineMs: 1_000 }),
  testRoute({ path: '/find', operation: 'search' }),
];

let gateway: GatewayUnderTest;
afterEach(() => gateway.stop());

describe('a request on its way to a node', () => {
  beforeEach(async () => {
    gateway = await GatewayUnderTest.start({ routes });
  });

  test('method, path, query, headers and body arrive; what is for the gateway does not', async () => {
    let body = '';
    const node = await gateway.addNode('storage-0', async (request, response) => {
      for await (const chunk of request) body += String(chunk);
      response.end('done');
    });
    await fetch(gateway.url('/post?b=%2F&x-typesense-api-key=k&c'), {
      method: 'POST',
      body: 'the body',
      headers: { 'X-Own': 'a', 'x-binnacle-api-key': 'k', authorization: 'Bearer k', 'x-binnacle-cluster-secret': 'guess', 'x-forwarded-for': '10.0.0.1', cookie: 'c=1' },
    });
    const { method, url, headers } = node.seen[0] as TestNode['seen'][number];
    expect({ method, url, body }).toEqual({ method: 'POST', url: '/post?b=%2F&c', body: 'the body' });
    expect(headers).toMatchObject({
      host: `127.0.0.1:${gateway.port()}`,
      'x-own': 'a',
      cookie: 'c=1',
      'content-length': '8',
      'x-forwarded-for': '10.0.0.1, 127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-binnacle-dialect': 'binnacle',
      'x-binnacle-cluster-secret': 'the secret of this test cluster',
    });
    expect(Object.keys(headers)).not.toEqual(expect.arrayContaining(['authorization']));
    expect(headers['x-binnacle-api-key']).toBeUndefined();
  });

  test('what a node says of its result cache is counted, of searches only', async () => {
    await gateway.addNode('storage-0', (_request, response) => void response.writeHead(200, { 'x-binnacle-search-cache': 'hit, miss' }).end());
    for (const path of ['/get', '/find']) await (await fetch(gateway.url(path))).text();
    await waitUntil(() => gateway.recorded.length === 2);
    expect(gateway.searchCache).toEqual(['hit, miss']);
  });

  test('what Connection names stays on its connection, both ways', async () => {
    const node = await gateway.addNode('storage-0', (_request, response) => {
      response.writeHead(200, { connection: 'x-node-hop, keep-alive', 'x-node-hop': '1', 'x-end': '1', 'content-length': 0 }).end();
    });
    const answer = await raw(gateway.port(), 'GET /get HTTP/1.1\r\nHost: x\r\nConnection: close, X-Hop, X-Binnacle-Dialect\r\nX-Hop: 1\r\nTE: trailers\r\nX-End: 1\r\n\r\n');
    expect(node.seen[0]?.headers).toMatchObject({ 'x-end': '1', 'x-binnacle-dialect': 'binnacle' });
    expect(node.seen[0]?.headers).not.toHaveProperty('x-hop');
    expect(node.seen[0]?.headers).not.toHaveProperty('te');
    expect(answer).toMatch(/x-end: 1/);
    expect(answer).not.toMatch(/x-node-hop/);
  });

  test('repeated headers of the answer stay repeated, and its status is passed on', async () => {
    await gateway.addNode('storage-0', (_request, response) => {
      response.writeHead(418, ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'Content-Type', 'text/x-tea']).end('tea');
    });
    const response = await fetch(gateway.url('/get'));
    expect([response.status, response.headers.getSetCookie(), await response.text()]).toEqual([418, ['a=1', 'b=2'], 'tea']);
  });

  test.each([
    [204, ''],
    [304, ''],
    [200, ''],
  ])('an answer %i without a body ends, and the connection serves the next request', async (status, body) => {
    await gateway.addNode('storage-0', (_request, response) => response.writeHead(status).end(body));
    const request = 'GET /get HTTP/1.1\r\nHost: x\r\n\r\n';
    expect((await raw(gateway.port(), request + request, /HTTP[^]*HTTP[^]*\r\n\r\n/)).match(new RegExp(`HTTP/1.1 ${status}`, 'g'))).toHaveLength(2);
  });

  test('HEAD is answered with the head alone, however long the body', async () => {
    const node = await gateway.addNode('storage-0', (_request, response) => response.end(Buffer.alloc(1_000_000)));
    const answer = await raw(gateway.port(), 'HEAD /get HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*content-length: 1000000\r\n[^]*\r\n\r\n$/i);
    expect(node.seen[0]?.method).toBe('GET');
  });

  test('the head of a stream that has nothing to say yet is passed on at once', async () => {
    let say: ServerResponse | undefined;
    await gateway.addNode('storage-0', (_request, response) => {
      say = response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
    });
    const response = await fetch(gateway.url('/stream'));
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    say?.end('data: 1\n\n');
    expect(await response.text()).toBe('data: 1\n\n');
  });

  test('an answer that comes before the body has been sent is passed on, and the connection ends', async () => {
    await gateway.addNode('storage-0', (_request, response) => response.writeHead(400, { 'content-length': 2 }).end('no'));
    const answer = await raw(gateway.port(), `POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n${'x'.repeat(1_000)}`);
    expect(answer).toMatch(/^HTTP\/1\.1 400 [^]*connection: close[^]*\r\n\r\nno$/i);
  });
});

describe('broken connections', () => {
  beforeEach(async () => {
    gateway = await GatewayUnderTest.start({ routes });
  });

  test('a client that goes away ends the request to the node', async () => {
    const node = await gateway.addNode('storage-0', () => undefined);
    const socket = await openSocket(gateway.port());
    socket.write('GET /get HTTP/1.1\r\nHost: x\r\n\r\n');
    const [, response] = (await once(node.requests, 'request')) as [IncomingMessage, ServerResponse];
    const gone = once(response, 'close');
    socket.destroy();
    await gone;
    await waitUntil(() => gateway.upstreams.of(node.record()).outstanding === 0);
    expect(await gateway.metric('binnacle_gateway_request_duration_seconds_count{route="/get",dialect="binnacle",status="4xx"}')).toBe(1);
  });

  test('a node that dies in the middle of an answer breaks the connection: no client takes half for the whole', async () => {
    for (const head of [{ 'content-length': 100_000 }, {}]) {
      const node = await gateway.addNode('storage-0', (_request, response) => {
        response.writeHead(200, head).write('x'.repeat(1_000));
        setImmediate(() => response.destroy());
      });
      const response = await fetch(gateway.url('/get'));
      await expect(response.text()).rejects.toThrow();
      await gateway.deregister(node.record());
    }
    expect(await gateway.metric('binnacle_gateway_broken_answers_total')).toBe(2);
  });

  test('a node that dies before the first byte of its body is told in full', async () => {
    await gateway.addNode('storage-0', (_request, response) => {
      response.writeHead(200, { 'content-length': 100 }).flushHeaders();
      setImmediate(() => response.destroy());
    });
    const response = await fetch(gateway.url('/get'));
    expect([response.status, await response.json()]).toEqual([502, { error: { code: 'UPSTREAM_UNREACHABLE', message: 'Node storage-0 broke off its answer.' } }]);
  });

  test('an answer that is no HTTP is a 502', async () => {
    await gateway.addNode('storage-0', (_request, response) => {
      response.socket?.end('I do not speak HTTP\r\n\r\n');
    });
    expect((await fetch(gateway.url('/get'))).status).toBe(502);
  });
});

describe('retries', () => {
  const hangUp = (_request: IncomingMessage, response: ServerResponse) => void response.socket?.destroy();
  beforeEach(async () => {
    gateway = await GatewayUnderTest.start({ routes });
  });

  test('a GET whose connection breaks before the answer goes to another node', async () => {
    await gateway.addNode('storage-0', hangUp);
    const other = await gateway.addNode('storage-1', answerText('here'));
    for (let attempt = 0; attempt < 8; attempt++) expect(await (await fetch(gateway.url('/get'))).text()).toBe('here');
    expect(other.seen).toHaveLength(8);
    expect(await gateway.metric('binnacle_gateway_retries_total')).toBeGreaterThan(0);
  });

  test('a GET whose node answers with what is no HTTP goes to another node', async () => {
    await gateway.addNode('storage-0', (_request, response) => void response.socket?.end('+PONG\r\n\r\n'));
    await gateway.addNode('storage-1', answerText('here'));
    for (let attempt = 0; attempt < 8; attempt++) expect(await (await fetch(gateway.url('/get'))).text()).toBe('here');
    expect(await gateway.metric('binnacle_gateway_retries_total')).toBeGreaterThan(0);
  });

  test('what may not be sent twice is not, once it may have arrived', async () => {
    const nodes = [await gateway.addNode('storage-0', hangUp), await gateway.addNode('storage-1', hangUp)];
    expect((await fetch(gateway.url('/once'))).status).toBe(502);
    expect((await fetch(gateway.url('/post'), { method: 'POST', body: 'x' })).status).toBe(502);
    expect(nodes.flatMap((node) => node.seen)).toHaveLength(2);
  });

  test('what never left may go to another node, body and all', async () => {
    const other = await gateway.addNode('storage-1', answerText('here'));
    const dead = new TestNode('storage-0', ['storage'], hangUp);
    await gateway.register(dead.record(await freePort()));
    for (let attempt = 0; attempt < 8; attempt++) {
      const response = await fetch(gateway.url('/post'), { method: 'POST', body: 'the whole body' });
      expect([response.status, await response.text()]).toEqual([200, 'here']);
    }
    expect(other.seen).toHaveLength(8);
    expect(await gateway.metric('binnacle_gateway_retries_total')).toBeGreaterThan(0);
  });

  test('a connection that the node had closed costs nobody anything', async () => {
    const node = await gateway.addNode('storage-0', answerText('here'));
    await (await fetch(gateway.url('/get'))).text();
    // The FIN is on its way while the next request is written.
    node.handler = (_request, response) => {
      node.handler = answerText('here');
      response.socket?.destroy();
    };
    expect(await (await fetch(gateway.url('/get'))).text()).toBe('here');
  });

  test('an empty budget lets the failure through', async () => {
    await gateway.addNode('storage-0', hangUp);
    await gateway.addNode('storage-1', hangUp);
    while (gateway.retryBudget.take());
    expect((await fetch(gateway.url('/get'))).status).toBe(502);
    expect(await gateway.metric('binnacle_gateway_retries_total')).toBe(0);
  });

  test('a cluster in which everything fails gets a tenth more requests, not twice as many', async () => {
    const nodes = [await gateway.addNode('storage-0', hangUp), await gateway.addNode('storage-1', hangUp)];
    const requests = 300;
    for (let sent = 0; sent < requests; sent++) await (await fetch(gateway.url('/get'))).text();
    expect(nodes.flatMap((node) => node.seen).length).toBeLessThanOrEqual(requests * 1.1 + 10);
  });
});

describe('a node that keeps failing', () => {
  test('is ejected, gets nothing for a while, and then is tried again', async () => {
    gateway = await GatewayUnderTest.start({ routes });
    let broken = true;
    const failing = await gateway.addNode('storage-0', (request, response) => (broken ? void response.socket?.destroy() : answerText('back')(request, response)));
    await gateway.addNode('storage-1', answerText('here'));
    const send = async () => (await fetch(gateway.url('/get'))).text();
    await waitUntil(async () => (await send()) === 'here' && (await gateway.metric('binnacle_gateway_node_ejected{node="storage-0"}')) === 1);
    expect(await gateway.metric('binnacle_gateway_ejections_total')).toBe(1);
    const seen = failing.seen.length;
    for (let sent = 0; sent < 20; sent++) await send();
    expect(failing.seen).toHaveLength(seen);
    broken = false;
    await waitUntil(async () => (await send()) === 'back');
  });
});

describe('limits of a node', () => {
  test('one request too many on its way is a 503 that says when to come again', async () => {
    gateway = await GatewayUnderTest.start({ routes, config: { outstandingPerNodeMax: 2 } });
    const node = await gateway.addNode('storage-0', () => undefined);
    const abort = new AbortController();
    const waiting = [1, 2].map(() => fetch(gateway.url('/get'), { signal: abort.signal }).catch(() => undefined));
    await waitUntil(() => node.seen.length === 2);
    const response = await fetch(gateway.url('/get'));
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1']);
    expect(gateway.overloadedCount).toBe(1);
    expect(await gateway.metric('binnacle_gateway_node_outstanding_requests{node="storage-0"}')).toBe(2);
    abort.abort();
    await Promise.all(waiting);
    await waitUntil(() => gateway.upstreams.of(node.record()).outstanding === 0);
    node.handler = answerText('again');
    expect(await (await fetch(gateway.url('/get'))).text()).toBe('again');
  });

  test('no node of the role is a 503', async () => {
    gateway = await GatewayUnderTest.start({ routes });
    const response = await fetch(gateway.url('/get'));
    expect([response.status, response.headers.get('retry-after'), await response.json()]).toEqual([
      503,
      '1',
      { error: { code: 'NO_TARGET', message: 'No live node has the role storage.' } },
    ]);
  });
});

describe('deadlines', () => {
  let clock: FakeClock;
  beforeEach(async () => {
    clock = new FakeClock();
    gateway = await GatewayUnderTest.start({ routes, clock });
  });

  test('an answer that does not begin in time is a 504, and the node hears that nobody waits', async () => {
    const node = await gateway.addNode('storage-0', () => undefined);
    const asked = fetch(gateway.url('/stream'));
    const [, response] = (await once(node.requests, 'request')) as [IncomingMessage, ServerResponse];
    const gone = once(response, 'close');
    await clock.advance(1_000);
    expect((await asked).status).toBe(504);
    await gone;
  });

  test('an answer that began in time may take as long as it likes', async () => {
    let rest: (() => void) | undefined;
    await gateway.addNode('storage-0', (_request, response) => {
      response.write('begun ');
      rest = () => response.end('and done');
    });
    const response = await fetch(gateway.url('/stream'));
    await clock.advance(60_000);
    rest?.();
    expect(await response.text()).toBe('begun and done');
  });

  test('a body that stands still is a 408', async () => {
    let received = 0;
    await gateway.addNode('storage-0', (request) => void request.on('data', (chunk: Buffer) => (received += chunk.length)).on('error', () => undefined));
    const client = httpRequest(gateway.url('/post'), { method: 'POST', headers: { 'content-length': 1_000 } });
    client.write('only this');
    const arrived = once(client, 'response');
    await waitUntil(() => received === 9);
    // Once more than the limit: the first look finds that something came since the start.
    await clock.advance(uploadIdleMsMax);
    await clock.advance(uploadIdleMsMax);
    const [response] = (await arrived) as [IncomingMessage];
    expect(response.statusCode).toBe(408);
    client.destroy();
  });

  test('a body that keeps coming is not cut off, and the wait for the answer begins with its end', async () => {
    let received = 0;
    await gateway.addNode('storage-0', (request) => void request.on('data', (chunk: Buffer) => (received += chunk.length)).on('error', () => undefined));
    const client = httpRequest(gateway.url('/post'), { method: 'POST', headers: { 'transfer-encoding': 'chunked' } });
    let status = 0;
    const arrived = once(client, 'response').then(([response]) => (status = (response as IncomingMessage).statusCode ?? 0));
    for (let part = 1; part <= 5; part++) {
      client.write('x'.repeat(1_000));
      await waitUntil(() => received === part * 1_000);
      await clock.advance(20_000);
    }
    expect(status).toBe(0);
    client.end();
    await waitUntil(async () => {
      await clock.advance(5_000);
      return status !== 0;
    });
    await arrived;
    expect(status).toBe(504);
  });
});

test('a body without a length is cut off at the limit of its route', async () => {
  gateway = await GatewayUnderTest.start({ routes });
  let bytes = 0;
  await gateway.addNode('storage-0', (request) => void request.on('data', (chunk: Buffer) => (bytes += chunk.length)).on('error', () => undefined));
  const client = httpRequest(gateway.url('/post'), { method: 'POST', headers: { 'transfer-encoding': 'chunked' } });
  client.on('error', () => undefined);
  const arrived = once(client, 'response') as Promise<[IncomingMessage]>;
  const chunk = Buffer.alloc(100_000);
  for (let sent = 0; sent < 15; sent++) client.write(chunk);
  const [response] = await arrived;
  expect([response.statusCode, response.headers.connection]).toEqual([413, 'close']);
  expect(bytes).toBeLessThanOrEqual(1_000_000);
  client.destroy();
});
