import { afterEach, expect, test } from '@jest/globals';
import type { NodeConfig } from '@binnacle/node-kit/config';
import { waitUntil } from '@binnacle/testing/wait-until';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Receivers } from '../src/receivers/receivers.js';
import { type IngestNode, newFolder, removeFolder, startIngest } from './ingest-node.js';

const nodes: IngestNode[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.close();
  await Promise.all(nodes.splice(0).map(async (node) => {
    await node.stop();
    removeFolder(node.dataDir);
  }));
});

async function start(change: (config: NodeConfig) => void = () => {}): Promise<IngestNode> {
  const node = await startIngest(newFolder(), (config) => {
    Object.assign(config.ingest, { receiverWorkers: 2, lineSource: 'none' });
    change(config);
  });
  nodes.push(node);
  return node;
}

const receiversOf = (node: IngestNode): Receivers => node.node.app.get(Receivers);

/** Of many senders: the kernel chooses the thread by who sends. */
function senders(count: number, port: number): ((lines: string) => Promise<void>)[] {
  return Array.from({ length: count }, () => {
    const socket = createSocket('udp4');
    sockets.push(socket);
    return (lines) => new Promise((resolve, reject) => socket.send(lines, port, '127.0.0.1', (error) => (error ? reject(error) : resolve())));
  });
}

async function overTcp(port: number, lines: string): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  socket.end(lines);
  await once(socket.resume(), 'close');
}

async function metric(node: IngestNode, name: string): Promise<number> {
  const text = await (await node.fetch('/metrics')).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`binnacle_ingest_${name}`));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

test('what several threads take adds up as if one had taken it', async () => {
  const node = await start((config) => (config.ingest.filters = [{ matchMetrics: [], excludeMetrics: [], matchTags: [], dropMetric: false, dropHost: false, dropTags: ['noise'], rewriteTags: {}, addTags: ['once'] }]));
  // So many that it is 2^31 to 1 that both threads have some.
  const udp = senders(32, node.udpPort);
  // Set before it is changed, in whichever thread.
  await (udp[0] as (lines: string) => Promise<void>)('depth:100|g');
  await waitUntil(async () => (await metric(node, 'lines_total')) === 1, { timeoutMs: 10_000 });
  for (const [at, send] of udp.entries()) await send(`hits:1|c|@0.3|#noise\nhits:2|c\ndepth:+2|g\ndepth:-1|g\nusers:u${at % 10}|s\ntook:${at}|ms|@0.5\nbad\n_e{1,1}:a|b`);
  await Promise.all(Array.from({ length: 8 }, () => overTcp(node.tcpPort, 'hits:1|c\nhits:1|c')));
  await waitUntil(async () => (await metric(node, 'lines_total')) === 1 + 32 * 7 + 16, { timeoutMs: 10_000 });
  await node.ingest.flush();
  const samples = await node.samples();
  expect(samples.get('hits_total{once="true"}')).toBeCloseTo(32 / 0.3 + 64 + 16, 9);
  expect(samples.get('depth{once="true"}')).toBe(132);
  expect(samples.get('users_unique{once="true"}')).toBe(10);
  expect(samples.get('took_count{once="true"}')).toBe(64);
  expect(samples.get('took_max{once="true"}')).toBe(31);
  expect([await metric(node, 'bad_lines_total'), await metric(node, 'udp_packets'), await metric(node, 'udp_drops')]).toEqual([32, 33, 0]);
});

test('a flush has what came before it, without waiting for a thread to hand it over', async () => {
  const node = await start();
  await overTcp(node.tcpPort, 'hits:7|c\n');
  await node.ingest.flush();
  expect((await node.samples()).get('hits_total')).toBe(7);
});

test('limits hold for all threads together, and what is beyond them is counted', async () => {
  const node = await start((config) => Object.assign(config.ingest, { seriesMax: 100, tcpConnectionsMax: 3 }));
  const lines = Array.from({ length: 5_000 }, (_, at) => `m${at}:1|c|#keyspace:3`).join('\n');
  for (let at = 0; at < 4; at++) await overTcp(node.tcpPort, lines);
  await node.ingest.flush();
  const samples = await node.samples();
  expect([...samples.values()].reduce((sum, value) => sum + value, 0)).toBe(20_000);
  expect(samples.get('binnacle_overflow_total{keyspace="3"}')).toBeGreaterThanOrEqual(20_000 - 400);
  expect(node.ingest.store.seriesCount).toBeLessThanOrEqual(100);
  expect(await metric(node, 'overflowed')).toBeGreaterThan(19_000);
  const open = Array.from({ length: 10 }, () => connect(node.tcpPort, '127.0.0.1').on('error', () => undefined));
  await waitUntil(async () => (await metric(node, 'tcp_refused')) === 7, { timeoutMs: 10_000 });
  expect(receiversOf(node).connectionCount()).toBe(3);
  for (const socket of open) socket.destroy();
});

test('a thread that dies is missed by the health check, and replaced; the others go on', async () => {
  const node = await start();
  const [thread] = receiversOf(node).threads;
  await thread?.worker?.terminate();
  expect(await (await node.fetch('/healthcheck')).text()).toContain('a receiver thread is missing');
  // Its port is the other one's now, whoever sends.
  const udp = senders(16, node.udpPort);
  for (const send of udp) await send('hits:1|c');
  await waitUntil(() => thread?.failure === undefined, { timeoutMs: 20_000 });
  await node.ingest.flush();
  expect((await node.samples()).get('hits_total')).toBe(16);
  expect(await metric(node, 'receiver_deaths')).toBe(1);
  expect((await node.fetch('/healthcheck')).status).toBe(200);
  await Promise.all(Array.from({ length: 8 }, () => overTcp(node.tcpPort, 'hits:1|c')));
  await node.ingest.flush();
  expect((await node.samples()).get('hits_total')).toBe(24);
});

test('ports that another process listens on are not shared with it', async () => {
  const first = await start();
  await expect(start((config) => Object.assign(config.ingest, { udpPort: first.udpPort, tcpPort: first.tcpPort }))).rejects.toThrow(`port ${first.udpPort} on 127.0.0.1 is in use`);
});

test.each([0, 2])('what has arrived when the node is told to stop is flushed, with %d threads', async (receiverWorkers) => {
  const node = await start((config) => Object.assign(config.ingest, { receiverWorkers }));
  const udp = senders(8, node.udpPort);
  const lines = Array.from({ length: 40 }, () => 'hits:1|c').join('\n');
  for (let round = 0; round < 10; round++) await Promise.all(udp.map((send) => send(lines)));
  await node.stop();
  const spool = join(node.dataDir, 'ingest', 'node-ingest-0', 'spool');
  const batches = existsSync(spool) ? readdirSync(spool) : [];
  const rows = batches.flatMap((batch) => readdirSync(join(spool, batch)).flatMap((part) => readFileSync(join(spool, batch, part), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as { kind: string; value: number })));
  expect(rows.filter(({ kind }) => kind === 'counter').reduce((sum, { value }) => sum + value, 0)).toBe(3_200);
});
