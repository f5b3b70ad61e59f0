import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import type { Readable } from 'node:stream';
import { createNodeListener } from './node-listener.js';

/** A stream stands still for less time than its client lets pass on a busy machine. */
const limits = { bodyMsMax: 300, bodyIdleMsMax: 1_000 };
let app: FastifyInstance;
let streamed: string;
/** While set, the handler of the streaming route reads nothing. */
let pause: Promise<void> | undefined;
const sockets: Socket[] = [];

beforeEach(async () => {
  streamed = '';
  pause = undefined;
  app = createNodeListener(pino({ level: 'silent' }), limits);
  app.addContentTypeParser('text/stream', (_request, payload, done) => done(null, payload));
  app.post('/whole', async () => 'taken');
  app.post('/stream', { config: { streamsBody: true } }, async (request) => {
    await pause;
    for await (const chunk of request.body as Readable) streamed += String(chunk);
    return `${streamed.length} bytes`;
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await app.close();
});

/** A connection with the head of a request on it, what comes back, and whether it was closed. */
function open(path: string, type: string, bytes: number) {
  const { port } = app.server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  const seen = { socket, answer: '', isClosed: false };
  socket.on('error', () => undefined).on('data', (chunk) => (seen.answer += chunk.toString())).on('close', () => (seen.isClosed = true));
  socket.write(`POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\ncontent-length: ${bytes}\r\n\r\n`);
  return seen;
}

test('a body that is streamed may take as long as it moves', async () => {
  const seen = open('/stream', 'text/stream', 10);
  const startedAtMs = performance.now();
  for (let index = 0; index < 10; index++) {
    const due = startedAtMs + index * 200;
    await waitUntil(() => performance.now() >= due);
    seen.socket.write('x');
  }
  await waitUntil(() => seen.answer.includes('10 bytes'));
  expect(performance.now() - startedAtMs).toBeGreaterThan(1.5 * limits.bodyIdleMsMax);
});

test('one that stands still is cut with 408', async () => {
  const seen = open('/stream', 'text/stream', 10);
  seen.socket.write('x');
  await waitUntil(() => seen.isClosed);
  expect(seen.answer).toMatch(/^HTTP\/1\.1 408 /);
});

test('one that nobody takes in stands still for no fault of its client', async () => {
  let goOn = (): void => {};
  pause = new Promise((resolve) => (goOn = resolve));
  const bytes = 5_000_000;
  const seen = open('/stream', 'text/stream', bytes);
  seen.socket.write('x'.repeat(bytes));
  const resumeAtMs = performance.now() + 2.5 * limits.bodyIdleMsMax;
  await waitUntil(() => performance.now() >= resumeAtMs);
  expect(seen.isClosed).toBe(false);
  goOn();
  await waitUntil(() => seen.answer.includes(`${bytes} bytes`));
});

test('any other body has to be there in time, moving or not', async () => {
  const seen = open('/whole', 'application/json', 100);
  const trickle = setInterval(() => seen.socket.write(' '), 50);
  await waitUntil(() => seen.isClosed);
  clearInterval(trickle);
  expect(seen.answer).toMatch(/^HTTP\/1\.1 408 /);
});

test('a body that came in time is nothing to cut', async () => {
  const seen = open('/whole', 'application/json', 2);
  seen.socket.write('{}');
  await waitUntil(() => seen.answer.includes('taken'));
  const laterMs = performance.now() + 2 * limits.bodyMsMax;
  await waitUntil(() => performance.now() >= laterMs);
  expect(seen.isClosed).toBe(false);
});
