import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { waitUntil } from '@binnacle/testing/wait-until';
import { answerText, TestNode, type Handler } from './gateway-under-test.js';

/* The gateway runs in a process of its own, with the flags of `npm start`, so that its memory is what is measured. */

const mebibyte = 1024 * 1024;
const bodyBytes = 2 * 1024 * mebibyte;
const rssGrowthMax = 64 * mebibyte;
const chunk = Buffer.alloc(mebibyte, 'x');

let gateway: ChildProcess;
let node: TestNode;
let port: number;

beforeAll(async () => {
  node = new TestNode('storage-0', ['storage'], answerText(''));
  await node.listen();
  const env = { ...process.env, NODE_OPTIONS: '', NODE_PORT: String(node.port) };
  gateway = fork(fileURLToPath(new URL('gateway-process.ts', import.meta.url)), { env, execArgv: ['--max-semi-space-size=8'] });
  const [{ labels }] = (await once(gateway, 'message')) as [{ labels: Record<string, string> }];
  port = Number(labels['gateway-port']);
});

afterAll(async () => {
  const ended = once(gateway, 'exit');
  gateway.disconnect();
  await ended;
  await node.close();
});

async function memory(): Promise<{ rss: number; rssMax: number }> {
  gateway.send('memory');
  return ((await once(gateway, 'message')) as [{ rss: number; rssMax: number }])[0];
}

/** Answers with so many bytes, as fast as they are taken. */
const stream =
  (bytes: number, taken: { bytes: number } = { bytes: 0 }): Handler =>
  (_request, response) => {
    response.writeHead(200, { 'content-length': bytes });
    const write = (): void => {
      while (taken.bytes < bytes) {
        taken.bytes += chunk.length;
        if (!response.write(chunk)) return void response.once('drain', write);
      }
      response.end();
    };
    write();
  };

async function get(path = '/api/v1/cluster'): Promise<IncomingMessage> {
  const [response] = (await once(request({ port, path, agent: false }).end(), 'response')) as [IncomingMessage];
  return response;
}

async function download(bytes: number, readSlowly: boolean): Promise<number> {
  node.handler = stream(bytes);
  let received = 0;
  for await (const part of await get()) {
    const before = received;
    received += (part as Buffer).length;
    // Every 32 MB the reader does something else for a moment.
    if (readSlowly && Math.floor(before / (32 * mebibyte)) !== Math.floor(received / (32 * mebibyte))) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return received;
}

async function upload(bytes: number): Promise<void> {
  const client = request({ port, path: '/collections/books/documents/import', method: 'POST', agent: false, headers: { 'content-length': bytes } });
  const answered = once(client, 'response') as Promise<[IncomingMessage]>;
  for (let sent = 0; sent < bytes; sent += chunk.length) if (!client.write(chunk)) await once(client, 'drain');
  client.end();
  const [response] = await answered;
  expect(response.statusCode).toBe(200);
  response.resume();
}

test('2 GB to a client that reads slowly pass with less than 64 MB', async () => {
  await download(256 * mebibyte, false);
  const before = (await memory()).rss;
  expect(await download(bodyBytes, true)).toBe(bodyBytes);
  expect((await memory()).rssMax - before).toBeLessThan(rssGrowthMax);
});

test('1 GB from a client to a node that reads slowly passes with less than 64 MB', async () => {
  const received = { bytes: 0 };
  node.handler = async (incoming, response) => {
    for await (const part of incoming) {
      const before = received.bytes;
      received.bytes += (part as Buffer).length;
      if (Math.floor(before / (32 * mebibyte)) !== Math.floor(received.bytes / (32 * mebibyte))) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    response.end();
  };
  await upload(128 * mebibyte);
  received.bytes = 0;
  const before = (await memory()).rss;
  // The limit of the route.
  await upload(1024 * mebibyte);
  expect(received.bytes).toBe(1024 * mebibyte);
  expect((await memory()).rssMax - before).toBeLessThan(rssGrowthMax);
});

test('a client that stops reading stops the node from sending, and goes on where it stopped', async () => {
  const taken = { bytes: 0 };
  node.handler = stream(256 * mebibyte, taken);
  const response = await get();
  response.pause();
  let last = -1;
  // What fits into the buffers on the way is taken; then nothing moves any more.
  await waitUntil(() => last === (last = taken.bytes), { intervalMs: 300 });
  expect(taken.bytes).toBeLessThan(64 * mebibyte);
  let received = 0;
  for await (const part of response) received += (part as Buffer).length;
  expect(received).toBe(256 * mebibyte);
});
