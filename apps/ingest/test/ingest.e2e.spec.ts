import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { waitUntil } from '@binnacle/testing/wait-until';
import { execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import HotShots from 'hot-shots';
import { encodeEvent } from '../src/forwarding/raw-message-writer.js';
import { type IngestNode, newFolder, removeFolder, startIngest } from './ingest-node.js';

const schemaFolder = new URL('../schema/', import.meta.url).pathname;
const encoded = (message: string, text: string): Buffer => execFileSync('protoc', [`--encode=gostatsd.${message}`, '-I', schemaFolder, 'gostatsd.proto'], { input: text });

let running: IngestNode;
beforeEach(async () => void (running = await startIngest(newFolder(), (config) => (config.ingest.lineSource = 'none'))));
afterEach(async () => {
  await running.stop();
  removeFolder(running.dataDir);
});

const post = (path: string, body: Buffer, headers: Record<string, string> = {}): Promise<Response> => running.fetch(path, { method: 'POST', body: new Uint8Array(body), headers });

const hits = encoded('RawMessageV2', 'Counters { key: "hits" value { TagMap { key: "a:1,s:web-1" value { Tags: "a:1" Hostname: "web-1" Value: 5 } } } }');
const hitsSample = 'hits_total{a="1",source="web-1"}';

test('an ingest node registers, and answers probes, health and metrics', async () => {
  expect(await running.node.context.state.nodes()).toMatchObject([{ id: 'ingest-0', roles: ['ingest'], state: 'running' }]);
  expect((await running.fetch('/readyz')).status).toBe(200);
  const health = await running.fetch('/healthcheck');
  expect([health.status, await health.text()]).toEqual([200, expect.stringMatching(/ingest: last flush \d+ ms ago/)]);
  expect(await (await running.fetch('/metrics')).text()).toMatch(/binnacle_build_info{.*roles="ingest"} 1/);
});

test('a message by protoc counts in every encoding, whatever its type is said to be', async () => {
  const lz4 = execFileSync('lz4', ['-c', '-q', '-z'], { input: hits });
  const answers = [
    await post('/v2/raw', hits, { 'content-type': 'application/json' }),
    await post('/v2/raw', hits, { 'content-encoding': 'identity' }),
    await post('/v2/raw', deflateSync(hits, { level: 9 }), { 'content-encoding': 'deflate', 'content-type': 'application/x-protobuf' }),
    await post('/v2/raw', lz4, { 'content-encoding': 'lz4', 'content-type': 'application/x-www-form-urlencoded' }),
  ];
  for (const answer of answers) expect([answer.status, await answer.text()]).toEqual([202, '']);
  expect((await running.samples()).get(hitsSample)).toBe(20);
});

test('what is no message is answered 400 without a word, and counts nothing', async () => {
  const bad = [
    await post('/v2/raw', hits, { 'content-encoding': 'gzip' }),
    await post('/v2/raw', hits, { 'content-encoding': 'deflate' }),
    await post('/v2/raw', hits, { 'content-encoding': 'lz4' }),
    await post('/v2/raw', hits.subarray(0, -1)),
    await post('/v2/raw', Buffer.concat([hits, Buffer.from([0xff])])),
    await post('/v2/event', Buffer.from([0x0a, 0x05, 0x41])),
    await post('/v2/raw', deflateSync(Buffer.alloc(100 * 2 ** 20)), { 'content-encoding': 'deflate' }),
    await post('/v2/raw', execFileSync('lz4', ['-c', '-q', '-z', '-9'], { input: Buffer.alloc(100 * 2 ** 20) }), { 'content-encoding': 'lz4' }),
  ];
  for (const answer of bad) expect([answer.status, await answer.text()]).toEqual([400, '']);
  expect((await running.samples()).size).toBe(0);
});

test('an empty body is an empty message', async () => {
  for (const headers of [{}, { 'content-encoding': 'deflate' }, { 'content-encoding': 'lz4' }]) expect((await post('/v2/raw', Buffer.alloc(0), headers as Record<string, string>)).status).toBe(202);
  expect((await post('/v2/raw', deflateSync(Buffer.alloc(0)), { 'content-encoding': 'deflate' })).status).toBe(202);
});

test('a body over the limit is refused before it is read', async () => {
  expect((await post('/v2/event', Buffer.alloc(2 ** 20 + 1))).status).toBe(413);
});

test('events inflate to no more than they may be as sent, and have room for so many bytes until the next flush, also when they are replayed', async () => {
  const event = (textBytes: number): Buffer => encodeEvent({ title: 't', text: 'x'.repeat(textBytes), happenedAtS: 1, source: '', aggregationKey: '', sourceTypeName: '', tags: [], priority: 'normal', type: 'info', kind: 'event' });
  const send = async (bytes: Buffer): Promise<number> => (await post('/v2/event', deflateSync(bytes), { 'content-encoding': 'deflate' })).status;
  expect(await send(event(2 ** 20 + 1))).toBe(400);
  const long = event(2 ** 20 - 64);
  for (let at = 0; at < 16; at++) expect(await send(long)).toBe(202);
  expect(await send(event(1))).toBe(503);

  const other = newFolder();
  cpSync(join(running.dataDir, 'ingest', 'node-ingest-0', 'journal'), join(other, 'ingest', 'node-ingest-0', 'journal'), { recursive: true });
  const next = await startIngest(other);
  await next.ingest.flush();
  const spool = join(other, 'ingest', 'node-ingest-0', 'spool');
  const batch = join(spool, readdirSync(spool)[0] as string);
  const parts = readdirSync(batch).map((part) => readFileSync(join(batch, part), 'utf8'));
  expect([parts.length, parts.join('').trimEnd().split('\n').length]).toEqual([4, 16]);
  await next.stop();
  removeFolder(other);

  await running.ingest.flush();
  expect(await send(long)).toBe(202);
});

test('a retry under the same key counts once, without a key every time', async () => {
  const key = { 'idempotency-key': 'flush-1' };
  const statuses = await Promise.all([post('/v2/raw', hits, key), post('/v2/raw', hits, key)]);
  expect(statuses.map(({ status }) => status)).toEqual([202, 202]);
  expect((await post('/v2/raw', hits, key)).status).toBe(202);
  expect((await running.samples()).get(hitsSample)).toBe(5);
  await post('/v2/raw', hits);
  await post('/v2/raw', hits, { 'idempotency-key': 'flush-2' });
  expect((await running.samples()).get(hitsSample)).toBe(15);
});

test('hot-shots counts over UDP, with tags, sampling and all kinds', async () => {
  const client = new HotShots({ port: running.udpPort, host: '127.0.0.1', globalTags: ['env:test'], maxBufferSize: 1_000, bufferFlushInterval: 10, includeDatadogTelemetry: false });
  client.increment('pages', 3, ['b:2', 'a:1']);
  client.decrement('pages', 1, ['a:1', 'b:2']);
  client.gauge('temperature', -3.5);
  client.gauge('temperature', 0);
  client.unique('visitors', 'anna');
  client.unique('visitors', 'otto');
  client.unique('visitors', 'anna');
  for (const value of [4, 8, 15, 16, 23, 42]) client.timing('load', value);
  client.event('deploy', 'v2', { priority: 'low' });
  client.check('db', client.CHECKS.CRITICAL, { message: 'gone' });
  await waitUntil(() => running.ingest.lines.taken === 15);
  await new Promise((resolve) => client.close(resolve));
  await running.ingest.flush();
  const samples = await running.samples();
  const sample = (name: string): number => samples.get(name) as number;
  expect(sample('pages_total{a="1",b="2",env="test"}')).toBe(2);
  expect(sample('temperature{env="test"}')).toBe(0);
  expect(sample('visitors_unique{env="test"}')).toBe(2);
  expect(sample('load_count{env="test"}')).toBe(6);
  expect(sample('load_sum{env="test"}')).toBe(108);
  expect(sample('load_mean{env="test"}')).toBeCloseTo(18, 9);
  expect(sample('load_median{env="test"}')).toBeCloseTo(15.5, 9);
  // 90 % of six are 5.4, so five of them: the greatest of those.
  expect(sample('load{env="test",quantile="0.9"}')).toBe(23);
  expect(sample('load_stddev{env="test"}')).toBeCloseTo(Math.sqrt((14 ** 2 + 10 ** 2 + 3 ** 2 + 2 ** 2 + 5 ** 2 + 24 ** 2) / 6), 9);
});

test("netcat's lines count over UDP and TCP, the last one without an end too", async () => {
  // Not synchronously: the node they talk to is this process.
  const netcat = async (input: string, ...options: string[]): Promise<void> => {
    const process = spawn('nc', options, { stdio: ['pipe', 'ignore', 'inherit'], timeout: 10_000 });
    process.stdin.end(input);
    await once(process, 'exit');
  };
  await netcat('nc:1|c\nnc:2|c', '-u', '-w1', '127.0.0.1', String(running.udpPort));
  await netcat('nc:10|c\nnonsense\nnc:20|c', '-N', '127.0.0.1', String(running.tcpPort));
  await waitUntil(() => running.ingest.lines.taken === 4);
  expect((await running.samples()).get('nc_total')).toBe(33);
  const metrics = await (await running.fetch('/metrics')).text();
  expect(metrics).toMatch(/^binnacle_ingest_lines_total 4$/m);
  expect(metrics).toMatch(/^binnacle_ingest_bad_lines_total{reason="no-value"} 1$/m);
  expect(metrics).toMatch(/^binnacle_ingest_udp_drops_total 0$/m);
});

test('lines over TCP may be cut anywhere, and one that never ends takes no memory and no line but itself', async () => {
  const socket = connect(running.tcpPort, '127.0.0.1');
  socket.setNoDelay(true);
  for (const piece of ['cu', 't:1|', 'c\ncut:2|c\nc', 'ut:4|c', '\n', '\n', 'x'.repeat(70_000), 'x'.repeat(70_000), '\ncut:8|c\n', 'cut:16|c']) await new Promise((resolve) => socket.write(piece, resolve));
  socket.end();
  await once(socket, 'close');
  await waitUntil(() => running.ingest.lines.taken === 5);
  expect((await running.samples()).get('cut_total')).toBe(31);
  expect([...running.ingest.badLines.counts()]).toEqual([['too-long', 1]]);
});

test('a flood of series is held at the limit, and the sum of all of them stays right', async () => {
  await running.stop();
  running = await startIngest(running.dataDir, (config) => Object.assign(config.ingest, { lineSource: 'none', seriesMax: 1_000 }));
  const socket = createSocket('udp4');
  let sent = 0;
  for (let packet = 0; packet < 100; packet++) {
    const lines = Array.from({ length: 50 }, () => `flood.${sent++}:1|c`).join('\n');
    await new Promise((resolve) => socket.send(lines, running.udpPort, '127.0.0.1', resolve));
    await waitUntil(() => running.ingest.lines.taken === sent);
  }
  socket.close();
  const samples = await running.samples();
  expect(samples.size).toBe(1_001);
  expect(samples.get('binnacle_overflow_total')).toBe(4_000);
});
