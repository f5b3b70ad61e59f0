import { afterEach, expect, test } from '@jest/globals';
import { waitUntil } from '@binnacle/testing/wait-until';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { LineIntake } from '../lines/line-intake.js';
import { PacketBatches } from './packet-batches.js';
import { SenderAddresses } from './sender-addresses.js';
import { UdpReceiver } from './udp-receiver.js';

const atEnd: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of atEnd.splice(0).reverse()) await end();
});

interface Taken {
  readonly text: string;
  readonly address: string;
}

async function receive(host: string, onTaken: (taken: Taken) => void): Promise<UdpReceiver> {
  const lines = { take: (bytes: Buffer, start: number, end: number, address: string) => onTaken({ text: bytes.toString('latin1', start, end), address }) };
  const receiver = new UdpReceiver({ host, port: 0, isShared: false, bufferBytes: 4_194_304 }, lines as unknown as LineIntake);
  await receiver.open();
  atEnd.push(() => receiver.close());
  return receiver;
}

/** Sends at once, so that what one turn of the event loop sends waits at the receiver's socket. */
async function sender(port: number, host = '127.0.0.1', from?: string): Promise<Socket> {
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4').on('error', () => undefined);
  if (from !== undefined) {
    socket.bind(0, from);
    await once(socket, 'listening');
  }
  socket.connect(port, host);
  await once(socket, 'connect');
  atEnd.push(() => socket.close());
  return socket;
}

/** What the kernel counts for a small packet is less. */
const packetsThatFit = (receiver: UdpReceiver): number => Math.floor(receiver.bufferBytes() / 1_536);

test('100,000 packets are taken in their order, those that Node.js read and those that came in batches', async () => {
  let next = 0;
  let wrong = 0;
  const receiver = await receive('127.0.0.1', ({ text }) => (wrong += Number(text) === next++ ? 0 : 1));
  const socket = await sender(receiver.port());
  const perBurst = packetsThatFit(receiver);
  for (let sent = 0; sent < 100_000; ) {
    for (const end = Math.min(100_000, sent + perBurst); sent < end; sent++) socket.send(String(sent));
    await waitUntil(() => receiver.packets === sent, { timeoutMs: 10_000 });
  }
  expect([next, wrong, receiver.packets]).toEqual([100_000, 0, 100_000]);
  expect(receiver.readsBatches()).toBe(true);
  expect(receiver.batched).toBeGreaterThan(80_000);
  expect(receiver.batched).toBeLessThan(100_000);
}, 60_000);

test('each packet has its sender, and is whole: empty, small or as large as one may be', async () => {
  const taken: Taken[] = [];
  const receiver = await receive('127.0.0.1', (each) => taken.push(each));
  const hosts = ['127.0.0.1', '127.0.0.2', '127.0.0.255'];
  const sockets = await Promise.all(hosts.map((host) => sender(receiver.port(), '127.0.0.1', host)));
  const sizes = [5, 0, 1_400, 1, 9_000];
  const sent: Taken[] = [];
  for (let at = 0; at < 24; at++) {
    const text = String.fromCharCode(97 + at).repeat(at === 7 ? 65_507 : (sizes[at % sizes.length] as number));
    sent.push({ text, address: hosts[at % 3] as string });
    sockets[at % 3]?.send(text);
  }
  await waitUntil(() => taken.length === sent.length, { timeoutMs: 10_000 });
  expect(taken).toEqual(sent);
  expect(receiver.batched).toBe(22);
});

const hasIPv6 = Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === '::1'));
(hasIPv6 ? test : test.skip)('over IPv6 senders have the address that Node.js gives them, those of IPv4 too', async () => {
  const taken: Taken[] = [];
  const receiver = await receive('::', (each) => taken.push(each));
  const sockets = [await sender(receiver.port(), '::1'), await sender(receiver.port())];
  for (let at = 0; at < 20; at++) sockets[at % 2]?.send(String(at));
  await waitUntil(() => taken.length === 20, { timeoutMs: 10_000 });
  expect(taken).toEqual(Array.from({ length: 20 }, (_, at) => ({ text: String(at), address: at % 2 === 0 ? '::1' : '::ffff:127.0.0.1' })));
  expect(receiver.batched).toBe(18);
});

test('an address of one link has its interface', () => {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt16LE(10, 0);
  Buffer.from('fe80000000000000000000000000abcd', 'hex').copy(bytes, 8);
  bytes.writeUInt32LE(4_000_000, 24);
  const words = new Uint32Array(Uint8Array.from(bytes).buffer);
  expect(new SenderAddresses().text(words, 0)).toBe('fe80::abcd%4000000');
});

test('nothing is read once it is closed, though its descriptor is another socket by then', async () => {
  const receiver = await receive('127.0.0.1', () => undefined);
  const port = receiver.port();
  const socket = await sender(port);
  let isOver = false;
  const keepSending = (): void => {
    if (isOver) return;
    for (let at = 0; at < 200; at++) socket.send('x');
    setImmediate(keepSending);
  };
  keepSending();
  atEnd.push(() => (isOver = true));
  await waitUntil(() => receiver.batched > 1_000, { timeoutMs: 10_000 });
  await receiver.close();
  atEnd.splice(0, 1);
  const atClose = receiver.packets;
  const other = createSocket('udp4');
  let got = 0;
  other.on('message', () => (got += 1));
  other.bind(port, '127.0.0.1');
  await once(other, 'listening');
  atEnd.push(() => other.close());
  await waitUntil(() => got > 2_000, { timeoutMs: 10_000 });
  expect(receiver.packets).toBe(atClose);
});

test('where batches cannot be had packets are read one by one', async () => {
  const platform = Object.getOwnPropertyDescriptor(process, 'platform') as PropertyDescriptor;
  Object.defineProperty(process, 'platform', { ...platform, value: 'darwin' });
  const receiver = await receive('127.0.0.1', () => undefined).finally(() => Object.defineProperty(process, 'platform', platform));
  const socket = await sender(receiver.port());
  for (let at = 0; at < 100; at++) socket.send('x');
  await waitUntil(() => receiver.packets === 100, { timeoutMs: 10_000 });
  expect([receiver.readsBatches(), receiver.batched]).toEqual([false, 0]);
});

test('a socket that has no descriptor has no batches', async () => {
  const socket = createSocket('udp4');
  socket.close();
  await once(socket, 'close');
  expect(PacketBatches.of(socket)).toBeUndefined();
});
