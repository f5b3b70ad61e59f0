import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { systemClock } from '@binnacle/cluster-state/clock';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { freePort } from '@binnacle/testing/free-port';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { connectTimeoutMs, type AnswerHandler } from './node-connection.js';
import { Upstream } from './upstream.js';

/** A node that says exactly what a test wants it to say. */
let node: Server;
let sockets: Socket[];
let received: string[];
let clock: FakeClock;
let upstream: Upstream;
const record = (port: number) => ({ id: 'a', incarnation: '1', host: '127.0.0.1', port, state: 'running', outstandingRequests: 0 }) as NodeRecord;
const portOf = (server: Server) => (server.address() as AddressInfo).port;

beforeEach(async () => {
  [sockets, received, clock] = [[], [], new FakeClock()];
  node = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined).on('data', (bytes) => received.push(bytes.toString('latin1')));
  });
  await once(node.listen(0, '127.0.0.1'), 'listening');
  upstream = new Upstream(record(portOf(node)), clock);
});
afterEach(() => {
  upstream.destroy();
  for (const socket of sockets) socket.destroy();
  node.close();
});

/** Sends a GET; `answer` is what the node says to it. */
async function exchange(answer: string | undefined, url = '/'): Promise<string> {
  const count = received.length;
  let body = '';
  const outcome = new Promise<string>((resolve) => {
    const handler: AnswerHandler = {
      onRequestStart: () => undefined,
      onRequestSent: () => undefined,
      onAnswerBegin: () => undefined,
      onHead: (status) => (body += `${status} `),
      onBody: (chunk) => (body += chunk.toString()),
      onEnd: () => resolve(body),
      onError: (error) => resolve(`${body}${error.name}: ${error.message}`),
    };
    upstream.send({ method: 'GET', url, headers: ['host', 'x'], body: undefined }, handler);
  });
  if (answer !== undefined) {
    await waitUntil(() => received.length > count);
    sockets.at(-1)?.write(answer);
  }
  return outcome;
}

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const hinted = 'HTTP/1.1 200 OK\r\nKeep-Alive: timeout=10\r\nContent-Length: 2\r\n\r\nok';

test('a connection serves one request after the other', async () => {
  for (const url of ['/a', '/b', '/c']) expect(await exchange(ok, url)).toBe('200 ok');
  expect(sockets).toHaveLength(1);
  expect(received).toEqual(['/a', '/b', '/c'].map((url) => `GET ${url} HTTP/1.1\r\nhost: x\r\n\r\n`));
});

test('one that a node said it would soon close is not used again', async () => {
  await exchange(hinted);
  await clock.advance(7_900);
  await exchange(hinted);
  expect(sockets).toHaveLength(1);
  clock.freezeFor(8_000);
  await exchange(hinted);
  expect(sockets).toHaveLength(2);
});

test('idle connections are closed in time, and no timer is left behind', async () => {
  await exchange(ok);
  const closed = once(sockets[0] as Socket, 'close');
  await clock.advance(5_000);
  await closed;
  await waitUntil(() => upstream.connectionCount() === 0);
  await clock.advance(1_000);
  expect(clock.timerCount()).toBe(0);
});

test('one that the node closes or talks on while it is idle is not used again', async () => {
  for (const mischief of [(socket: Socket) => void socket.end(), (socket: Socket) => void socket.write('HTTP/1.1 200 OK\r\n\r\n')]) {
    await exchange(ok);
    mischief(sockets.at(-1) as Socket);
    await waitUntil(() => upstream.connectionCount() === 0);
  }
  expect(await exchange(ok)).toBe('200 ok');
  expect(sockets).toHaveLength(3);
});

test('one whose node has moved is not used again', async () => {
  await exchange(ok);
  const other = createServer((socket) => socket.end(ok));
  await once(other.listen(0, '127.0.0.1'), 'listening');
  upstream.update(record(portOf(other)));
  expect(await exchange(undefined)).toBe('200 ok');
  expect(sockets).toHaveLength(1);
  other.close();
});

test.each([
  ['nothing', '', /^ConnectionError: the node closed the connection$/],
  ['half a head', 'HTTP/1.1 200 OK\r\nCont', /^ConnectionError: the node closed the connection$/],
  ['half a body', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', /^200 halfConnectionError: the node closed the connection$/],
  ['a body up to here', 'HTTP/1.1 200 OK\r\n\r\nwhole', /^200 whole$/],
])('a node that says %s and hangs up', async (_what, bytes, expected) => {
  const outcome = exchange(undefined);
  await waitUntil(() => received.length === 1);
  sockets[0]?.end(bytes);
  expect(await outcome).toMatch(expected);
  await waitUntil(() => upstream.connectionCount() === 0);
});

test('what is no HTTP is another error than a broken connection', async () => {
  expect(await exchange('SSH-2.0-OpenSSH\r\n\r\n')).toMatch(/^BadAnswer: /);
});

test('a node that does not listen is a connection error', async () => {
  upstream.update(record(await freePort()));
  expect(await exchange(undefined)).toMatch(/^ConnectionError: .*ECONNREFUSED/);
});

test('a connection that does not come about in time is given up', async () => {
  // The time is over before the event loop gets to the other side's answer.
  const hasty = { ...systemClock, after: (delayMs: number, callback: () => void) => (delayMs === connectTimeoutMs && queueMicrotask(callback), () => undefined) };
  upstream = new Upstream(record(portOf(node)), hasty);
  expect(await exchange(undefined)).toBe('ConnectionError: no connection within 2000 ms');
});
