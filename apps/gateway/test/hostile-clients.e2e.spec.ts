import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { waitUntil } from '@binnacle/testing/wait-until';
import { answerText, GatewayUnderTest, openSocket, raw, testRoute, TestNode } from './gateway-under-test.js';

const routes = [testRoute({ path: '/get' }), testRoute({ path: '/post', method: 'POST' })];
let gateway: GatewayUnderTest;
let node: TestNode;

beforeEach(async () => {
  gateway = await GatewayUnderTest.start({ routes });
  node = await gateway.addNode('storage-0', (request, response) => {
    request.resume().once('end', () => answerText('here')(request, response));
  });
});
afterEach(() => gateway.stop());

const alive = async () => (await fetch(gateway.url('/get'))).status;

describe('a request that could be read in two ways', () => {
  test.each([
    ['a length and chunks', 'POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /get HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['chunks and a length', 'POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /get HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['two lengths', 'POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['two equal lengths', 'POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab'],
    ['a list of lengths', 'POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 2, 2\r\n\r\nab'],
    ['a signed length', 'POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\nab'],
    ['an unknown coding', 'POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n'],
    ['chunked not last', 'POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n'],
    ['a space before the colon', 'POST /post HTTP/1.1\r\nHost: x\r\nContent-Length : 2\r\n\r\nab'],
    ['a folded header', 'GET /get HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n'],
    ['a bare line feed', 'GET /get HTTP/1.1\nHost: x\n\n'],
    ['a bare carriage return', 'GET /get HTTP/1.1\r\nHost: x\r\nX-A: 1\rTransfer-Encoding: chunked\r\n\r\n'],
    ['a chunk size that is no number', 'POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n'],
    ['a chunk longer than it says', 'POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n'],
    ['no host', 'GET /get HTTP/1.1\r\n\r\n'],
    ['a control character in the path', 'GET /get\x01 HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a tab in the path', 'GET /get\t HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a delete in the query', 'GET /get?\x7f HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a carriage return in the path', 'GET /get\rX: y HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a NUL in a header', 'GET /get HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n'],
  ])('%s is refused once, and the connection ends', async (_what, bytes) => {
    const answer = await raw(gateway.port(), bytes);
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 400']);
    expect(node.seen.filter(({ url }) => url === '/get')).toEqual([]);
    expect(await alive()).toBe(200);
  });

  test('a chunked body arrives as one body, with nothing left over', async () => {
    const bodies: string[] = [];
    node.handler = async (request, response) => {
      let body = '';
      for await (const chunk of request) body += String(chunk);
      bodies.push(body);
      answerText('here')(request, response);
    };
    const chunked = 'POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nGET /\r\n3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n';
    const answer = await raw(gateway.port(), `${chunked}GET /get HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200']);
    expect(bodies.sort()).toEqual(['', 'GET /abc']);
  });

  test('an upgrade is answered as the plain request it comes with', async () => {
    const answer = await raw(gateway.port(), 'GET /get HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n', /here$/);
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(node.seen[0]?.headers['upgrade']).toBeUndefined();
  });
});

describe('floods', () => {
  test.each([
    ['a header of 20 kB', `GET /get HTTP/1.1\r\nHost: x\r\nA: ${'b'.repeat(20_000)}\r\n\r\n`, 431],
    ['ten thousand headers', `GET /get HTTP/1.1\r\nHost: x\r\n${'A: b\r\n'.repeat(10_000)}\r\n`, 431],
    ['a path of a megabyte', `GET /${'a'.repeat(1_000_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431],
    ['more headers than are let in', `GET /get HTTP/1.1\r\nHost: x\r\n${'A: b\r\n'.repeat(100)}\r\n`, 400],
  ])('%s', async (_what, bytes, status) => {
    expect(await raw(gateway.port(), bytes, /\r\n\r\n/)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(node.seen).toEqual([]);
    expect(await alive()).toBe(200);
  });

  test('half requests by the hundred keep nobody else from an answer', async () => {
    const sockets: Socket[] = [];
    for (let count = 0; count < 300; count++) {
      const socket = await openSocket(gateway.port());
      socket.on('error', () => undefined);
      socket.write(count % 2 === 0 ? 'GET /get HT' : 'POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf');
      sockets.push(socket);
    }
    for (let count = 0; count < 20; count++) expect(await alive()).toBe(200);
    for (const socket of sockets) socket.destroy();
  });

  test('a connection over the limit is closed, and another is let in once one has gone', async () => {
    await gateway.stop();
    gateway = await GatewayUnderTest.start({ routes, config: { connectionsMax: 2 } });
    const [first, second] = [await openSocket(gateway.port()), await openSocket(gateway.port('typesense'))];
    const third = await openSocket(gateway.port('tiflash'));
    await once(third, 'close');
    expect(gateway.listeners.connectionCount()).toBe(2);
    first.destroy();
    second.destroy();
    const fourth = async () => (await raw(gateway.port(), 'GET /no HTTP/1.1\r\nHost: x\r\n\r\n', /404/)).includes('404');
    while (!(await fourth()));
  });
});

describe('a client that does not read', () => {
  test('is cut off, and the node with it, once nothing has moved for too long', async () => {
    await gateway.stop();
    gateway = await GatewayUnderTest.start({ routes, unreadAnswerMsMax: 100 });
    let gone = Promise.resolve<unknown>(undefined);
    await gateway.addNode('storage-0', (_request, response) => {
      gone = once(response, 'close');
      response.write(Buffer.alloc(64 * 1024 * 1024));
    });
    const socket = await openSocket(gateway.port());
    socket.pause();
    socket.write('GET /get HTTP/1.1\r\nHost: x\r\n\r\n');
    await waitUntil(() => gateway.upstreams.of(gateway.directory.byId('storage-0') as never).outstanding === 1);
    await gone;
    await waitUntil(() => gateway.listeners.connectionCount() === 0);
    socket.destroy();
  });

  test('but waits for an answer that takes its time, is not', async () => {
    await gateway.stop();
    gateway = await GatewayUnderTest.start({ routes, unreadAnswerMsMax: 100 });
    await gateway.addNode('storage-0', (request, response) => void setTimeout(() => answerText('late')(request, response), 400));
    expect(await (await fetch(gateway.url('/get'))).text()).toBe('late');
  });
});
