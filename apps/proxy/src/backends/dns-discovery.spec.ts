import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createSocket, type Socket } from 'node:dgram';
import type { AddressInfo } from 'node:net';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { DnsDiscovery } from './dns-discovery.js';

/** What a name has; absent: NXDOMAIN; `refused` as an operator's resolver in trouble. */
type Zone = Record<string, { a?: string[]; aaaa?: number[][]; srv?: { priority: number; port: number; target: string }[] } | 'refused'>;

const types = { a: 1, aaaa: 28, srv: 33 } as const;

function encodeName(name: string): Buffer {
  return Buffer.concat([...name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])), Buffer.from([0])]);
}

/** A DNS server that answers from a zone: one question a packet, no compression. */
function answer(query: Buffer, zone: Zone): Buffer {
  const labels: string[] = [];
  let at = 12;
  for (; query[at] !== 0; at += 1 + query[at]!) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]!));
  const question = query.subarray(12, at + 5);
  const type = query.readUInt16BE(at + 1);
  const entry = zone[labels.join('.').toLowerCase()];
  const data: Buffer[] = [];
  if (entry !== undefined && entry !== 'refused') {
    if (type === types.a) for (const address of entry.a ?? []) data.push(Buffer.from(address.split('.').map(Number)));
    if (type === types.aaaa) for (const words of entry.aaaa ?? []) data.push(Buffer.from(words.flatMap((word) => [word >> 8, word & 0xff])));
    if (type === types.srv) for (const { priority, port, target } of entry.srv ?? []) data.push(Buffer.concat([Buffer.from([0, priority, 0, 1, port >> 8, port & 0xff]), encodeName(target)]));
  }
  const code = entry === undefined ? 3 : entry === 'refused' ? 5 : 0;
  const header = Buffer.from([query[0]!, query[1]!, 0x81, 0x80 | code, 0, 1, 0, data.length, 0, 0, 0, 0]);
  const records = data.map((each) => Buffer.concat([Buffer.from([0xc0, 12, type >> 8, type & 0xff, 0, 1, 0, 0, 0, 1, each.length >> 8, each.length & 0xff]), each]));
  return Buffer.concat([header, question, ...records]);
}

let socket: Socket;
let server = '';
let zone: Zone = {};

beforeEach(async () => {
  socket = createSocket('udp4');
  socket.on('message', (query, peer) => socket.send(answer(query, zone), peer.port, peer.address));
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  server = `127.0.0.1:${(socket.address() as AddressInfo).port}`;
});

let running: DnsDiscovery | undefined;
afterEach(() => {
  running?.stop();
  socket.close();
});

function follow(name: string, clock: FakeClock): { discovery: DnsDiscovery; changes: () => number; addresses: () => string[] } {
  const discovery = new DnsDiscovery({ name, port: 3306, cluster: 'c', nsServers: [server], intervalMs: 5_000, clock, keepMs: () => 60_000 });
  running = discovery;
  let changes = 0;
  discovery.start(() => changes++);
  return { discovery, changes: () => changes, addresses: () => discovery.current().map(({ host, port }) => `${host} ${port}`) };
}

/** Waits until the next lookup has ended: its timer is set only then. */
async function nextLookup(clock: FakeClock): Promise<void> {
  await waitUntil(() => clock.timerCount() === 1);
  await clock.advance(5_000);
  await waitUntil(() => clock.timerCount() === 1);
}

test('every address of a name is a backend, of both families, and new ones are found', async () => {
  zone = { 'db.test': { a: ['10.0.0.2', '10.0.0.1'], aaaa: [[0xfd00, 0, 0, 0, 0, 0, 0, 2]] } };
  const clock = new FakeClock();
  const { discovery, changes, addresses } = follow('db.test', clock);
  await waitUntil(() => discovery.looked());
  expect(addresses()).toEqual(['10.0.0.1 3306', '10.0.0.2 3306', 'fd00::2 3306']);
  expect(discovery.current()[0]).toMatchObject({ cluster: 'c', names: ['db.test'] });
  await nextLookup(clock);
  expect(changes()).toBe(1);
  zone = { 'db.test': { a: ['10.0.0.1', '10.0.0.2', '10.0.0.3'], aaaa: [[0xfd00, 0, 0, 0, 0, 0, 0, 2]] } };
  await nextLookup(clock);
  expect(addresses()).toEqual(['10.0.0.1 3306', '10.0.0.2 3306', '10.0.0.3 3306', 'fd00::2 3306']);
  expect(changes()).toBe(2);
});

test('a server that answers with another part of the addresses each time makes none of them come and go', async () => {
  zone = { 'db.test': { a: ['10.0.0.1', '10.0.0.2'] } };
  const clock = new FakeClock();
  const { discovery, addresses } = follow('db.test', clock);
  await waitUntil(() => discovery.looked());
  for (const last of [3, 4, 1, 2, 3]) {
    zone = { 'db.test': { a: [`10.0.0.${last}`] } };
    await nextLookup(clock);
  }
  expect(addresses()).toHaveLength(4);
  expect(discovery.problem()).toBe('db.test has lost addresses; they are kept for the time of failover-timeout');
  for (let lookup = 0; lookup < 12; lookup++) await nextLookup(clock);
  expect(addresses()).toEqual(['10.0.0.3 3306']);
  expect(discovery.problem()).toBe('');
});

test('SRV records bring their ports, and only the first priority counts', async () => {
  zone = {
    '_mysql._tcp.test': { srv: [{ priority: 1, port: 3307, target: 'a.test' }, { priority: 1, port: 3308, target: 'b.test' }, { priority: 2, port: 3309, target: 'c.test' }] },
    'a.test': { a: ['10.0.0.1'] },
    'b.test': { a: ['10.0.0.2'] },
    'c.test': { a: ['10.0.0.3'] },
  };
  const { discovery, addresses } = follow('_mysql._tcp.test', new FakeClock());
  await waitUntil(() => discovery.looked());
  expect(addresses()).toEqual(['10.0.0.1 3307', '10.0.0.2 3308']);
  expect(discovery.current()[0]!.names).toEqual(['a.test']);
});

test('the addresses of a name that vanished are kept for a time, and it says so', async () => {
  zone = { 'db.test': { a: ['10.0.0.1'] } };
  const clock = new FakeClock();
  const { discovery, addresses } = follow('db.test', clock);
  await waitUntil(() => discovery.looked());
  zone = {};
  await nextLookup(clock);
  expect(addresses()).toEqual(['10.0.0.1 3306']);
  expect(discovery.problem()).toBe('db.test has no addresses any more; they are kept for the time of failover-timeout');
  for (let lookup = 0; lookup < 12; lookup++) await nextLookup(clock);
  expect(addresses()).toEqual([]);
  expect(discovery.problem()).toBe('db.test has no addresses');
  zone = { 'db.test': { a: ['10.0.0.9'] } };
  await nextLookup(clock);
  expect(addresses()).toEqual(['10.0.0.9 3306']);
  expect(discovery.problem()).toBe('');
});

test('a resolver in trouble says nothing about the servers', async () => {
  zone = { 'db.test': { a: ['10.0.0.1'] } };
  const clock = new FakeClock();
  const { discovery, addresses } = follow('db.test', clock);
  await waitUntil(() => discovery.looked());
  zone = { 'db.test': 'refused' };
  for (let lookup = 0; lookup < 15; lookup++) await nextLookup(clock);
  expect(addresses()).toEqual(['10.0.0.1 3306']);
  expect(discovery.problem()).toMatch(/cannot be looked up \(EREFUSED\)/);
});

test('nothing is known of a name before it was answered once', async () => {
  zone = { 'db.test': 'refused' };
  const clock = new FakeClock();
  const { discovery } = follow('db.test', clock);
  await waitUntil(() => discovery.problem() !== '');
  expect(discovery.looked()).toBe(false);
});
