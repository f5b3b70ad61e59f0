import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { freePort } from '@binnacle/testing/free-port';
import { waitUntil } from '@binnacle/testing/wait-until';
import { PlainChannel } from './plain-channel.js';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function listen(): Promise<{ server: Server; port: number }> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => server.close());
  return { server, port: (server.address() as AddressInfo).port };
}

async function pair(): Promise<{ channel: PlainChannel; peer: Socket; server: Server }> {
  const { server, port } = await listen();
  const peer = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  closing.push(() => peer.destroy());
  const [accepted] = (await once(server, 'connection')) as [Socket];
  const channel = PlainChannel.accepted(accepted);
  closing.push(() => channel.destroy());
  return { channel, peer, server };
}

const connections = (server: Server): Promise<number> => new Promise((resolve, reject) => server.getConnections((error, count) => (error ? reject(error) : resolve(count))));

test('a channel in the place of an accepted socket is counted by its server until it closes', async () => {
  const { channel, server } = await pair();
  expect(await connections(server)).toBe(1);
  let closed = 0;
  channel.onClosed = () => closed++;
  channel.destroy();
  channel.destroy();
  expect([channel.closed, closed]).toEqual([true, 0]);
  await waitUntil(() => closed === 1);
  expect(await connections(server)).toBe(0);
});

test('bytes are lent for the call: the same memory is read into again, unless it was taken', async () => {
  const { channel, peer } = await pair();
  const seen: { memory: Buffer; text: string }[] = [];
  let take = false;
  channel.onBytes = (chunk, start, end) => {
    seen.push({ memory: chunk, text: chunk.toString('latin1', start, end) });
    return take;
  };
  const send = async (text: string): Promise<void> => {
    const count = seen.length;
    peer.write(text);
    await waitUntil(() => seen.length > count);
  };
  await send('one');
  await send('two');
  expect(seen[1]!.memory).toBe(seen[0]!.memory);
  take = true;
  await send('three');
  await send('four');
  expect(seen[3]!.memory).not.toBe(seen[2]!.memory);
  expect(seen[2]!.memory.toString('latin1', 0, 5)).toBe('three');
  expect(seen.map(({ text }) => text)).toEqual(['one', 'two', 'three', 'four']);
});

test('what fills its buffer is read into a larger one from then on', async () => {
  const { channel, peer } = await pair();
  const sizes: number[] = [];
  let bytes = 0;
  channel.onBytes = (chunk, start, end) => {
    sizes.push(chunk.length);
    bytes += end - start;
    return false;
  };
  peer.write(Buffer.alloc(300_000));
  await waitUntil(() => bytes === 300_000);
  expect([sizes[0], sizes.at(-1)]).toEqual([2_048, 65_536]);
});

test('a paused channel gives nothing, and loses nothing', async () => {
  const { channel, peer } = await pair();
  let text = '';
  channel.onBytes = (chunk, start, end) => {
    text += chunk.toString('latin1', start, end);
    channel.pause();
    return false;
  };
  peer.write('a'.repeat(5_000));
  await waitUntil(() => text.length === 2_048);
  peer.end('b');
  let ended = false;
  channel.onEnd = () => (ended = true);
  while (!ended) {
    const { length } = text;
    await new Promise((resolve) => setImmediate(resolve));
    expect(text).toHaveLength(length);
    channel.resume();
    await waitUntil(() => text.length > length || ended);
  }
  expect(text).toBe(`${'a'.repeat(5_000)}b`);
});

test('a channel is dialled, or the reason is told', async () => {
  const { server, port } = await listen();
  server.on('connection', (socket) => socket.end('hello'));
  const channel = await PlainChannel.dial({ host: '127.0.0.1', port, timeoutMs: 5_000 });
  let text = '';
  channel.onBytes = (chunk, start, end) => {
    text += chunk.toString('latin1', start, end);
    return false;
  };
  let ended = false;
  channel.onEnd = () => (ended = true);
  channel.resume();
  await waitUntil(() => ended);
  expect([text, channel.secure, channel.remotePort, channel.bytesRead]).toEqual(['hello', false, port, 5]);
  channel.end(Buffer.from('bye'));
  await expect(PlainChannel.dial({ host: '127.0.0.1', port: await freePort(), timeoutMs: 5_000 })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  // A documentation address, to which nothing answers, or no route leads.
  await expect(PlainChannel.dial({ host: '192.0.2.1', port: 3_306, timeoutMs: 50 })).rejects.toMatchObject({ code: expect.stringMatching(/ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ECONNREFUSED/) });
});
