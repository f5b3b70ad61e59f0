import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { type CephServer, cephStartTimeoutMs, startCeph } from '@binnacle/testing/ceph';
import { type MariadbServer, startMariadb } from '@binnacle/testing/mariadb-server';
import { startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TrafficReport } from '../src/traffic/report/traffic-report.js';
import { type ProxyProcess, startProxy } from './proxy-process.js';
import { runWorkload, schema } from './traffic-workload.js';

/* A capture that goes to a bucket and is replayed from it, as an operator asks for both: on a real S3, through the API of proxies that are processes. */

let ceph: CephServer;
let client: S3Client;
let before: MariadbServer;
let after: MariadbServer;
const proxies: ProxyProcess[] = [];
const folder = mkdtempSync(join(tmpdir(), 'binnacle-traffic-bucket-'));

beforeAll(async () => {
  writeFileSync(join(folder, 'key'), randomBytes(32), { mode: 0o400 });
  [ceph, before, after] = await Promise.all([startCeph(), startMariadb(), startMariadb()]);
  // As an operator gives them: in the environment of the proxies.
  Object.assign(process.env, ceph.env);
  client = new S3Client({ endpoint: ceph.endpoint, region: 'us-east-1', forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: 'traffic' }));
  await Promise.all([before, after].map((server) => server.sql(schema)));
}, cephStartTimeoutMs);

afterAll(async () => {
  client?.destroy();
  await Promise.all(proxies.map((proxy) => proxy.stop()));
  await Promise.all([ceph, before, after].map((server) => server?.stop()));
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

async function proxyOf({ port }: MariadbServer, sections = ''): Promise<ProxyProcess> {
  const toml = `traffic-roots = ["s3://traffic/upgrades"]\n[remote]\ns3-endpoint = "${ceph.endpoint}"\ns3-force-path-style = true\n[security]\nencryption-key-path = "${join(folder, 'key')}"\n${sections}`;
  const proxy = await startProxy({ backends: [`127.0.0.1:${port}`], toml });
  proxies.push(proxy);
  return proxy;
}

async function post(proxy: ProxyProcess, path: string, fields: object): Promise<string> {
  const { status, body } = await proxy.api('POST', `/api/traffic/${path}`, fields);
  return `${status} ${String(body['text'])}`;
}

async function lastJob(proxy: ProxyProcess): Promise<Readonly<Record<string, unknown>>> {
  const jobs = async (): Promise<Record<string, unknown>[]> => JSON.parse(String((await proxy.api('GET', '/api/traffic/show')).body['text'])) as Record<string, unknown>[];
  await waitUntil(async () => (await jobs()).at(-1)?.['state'] !== 'running', { what: 'the job ends', timeoutMs: 60_000, intervalMs: 100 });
  return (await jobs()).at(-1)!;
}

async function keysIn(prefix: string): Promise<string[]> {
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: 'traffic', Prefix: `${prefix}/` }));
  return Contents.map(({ Key = '' }) => Key.slice(prefix.length + 1));
}

async function replayed(proxy: ProxyProcess, input: string, fields: object = {}): Promise<TrafficReport> {
  await after.sql(schema);
  expect(await post(proxy, 'replay', { input, username: 'root', password: 'root', ...fields })).toBe('200 replay started');
  expect(await lastJob(proxy)).toMatchObject({ state: 'done' });
  return (await proxy.api('GET', '/api/traffic/report')).body as unknown as TrafficReport;
}

test('a capture goes into a bucket, encrypted and with its plans, and passes when it is replayed from there', async () => {
  const [capturing, replaying] = [await proxyOf(before), await proxyOf(after)];
  const output = 's3://traffic/upgrades/day';
  const explain = { 'explain-username': 'root', 'explain-password': 'root' };
  const order = { output, duration: '10m', 'encrypt-method': 'aes256-ctr', ...explain };
  expect(await post(capturing, 'capture', order)).toBe('200 capture started');
  await runWorkload(capturing.port);
  expect(await post(capturing, 'cancel', { type: 'capture' })).toMatch(/^200 stopped: /);
  expect(await lastJob(capturing)).toMatchObject({ state: 'canceled', error: 'manually stopped', parts: { [String((await lastJob(capturing))['node'])]: output } });
  const names = await keysIn('upgrades/day');
  expect(names.map((name) => name.replace(/-\d{4}-.*?\.log/, '.log')).sort()).toEqual(['meta', 'plans.json', 'results.log.gz', 'traffic.log.gz']);
  expect(readdirSync(join(capturing.folder, 'data/tmp'))).toEqual([]);

  const report = await replayed(replaying, output, explain);
  expect(report.failures.map(({ line }) => line)).toEqual([]);
  expect(report).toMatchObject({ verdict: 'PASS', totals: { different: 0, newError: 0 }, plans: { changed: 0 } });
  expect(report.totals.equal).toBeGreaterThan(140);
  expect(report.plans.compared).toBeGreaterThan(3);

  expect(await post(capturing, 'capture', order)).toMatch(/^400 .*already exists/);
  expect(await post(capturing, 'capture', { ...order, output: 's3://traffic/elsewhere' })).toMatch(/^400 .*traffic-roots/);
  expect(await post(replaying, 'replay', { input: 's3://traffic/upgrades/nothing', username: 'root', password: 'root' })).toBe('200 replay started');
  expect(await lastJob(replaying)).toMatchObject({ state: 'failed', error: 'there are no traffic files in s3://traffic/upgrades/nothing: it is empty' });
}, 120_000);

test('what two proxy nodes have written into a bucket is replayed as one, and an output with their parts takes no other capture', async () => {
  const redis = await startRedis();
  try {
    const nodes = await Promise.all([1, 2].map(() => proxyOf(before, `[redis]\nurl = "${redis.url}"`)));
    const [first, second] = nodes as [ProxyProcess, ProxyProcess];
    const known = async (): Promise<object> => ((await first.api('GET', '/api/v1/backends')).body['backends'] as { nodes: object }[])[0]?.nodes ?? {};
    await waitUntil(async () => Object.keys(await known()).length === 2, { what: 'they know each other' });
    await before.sql(schema);
    expect(await post(first, 'capture', { output: 's3://traffic/upgrades/both', duration: '10m' })).toBe('200 capture started');
    for (const { port } of nodes) await runWorkload(port);
    expect(await post(second, 'cancel', { type: 'capture' })).toMatch(/^200 stopped: /);
    const parts = Object.keys((await lastJob(second))['parts'] as object);
    expect(new Set((await keysIn('upgrades/both')).map((key) => key.split('/')[0]))).toEqual(new Set(parts));
    expect(parts).toHaveLength(2);
  } finally {
    await redis.stop();
  }
  const replaying = await proxyOf(after);
  const report = await replayed(replaying, 's3://traffic/upgrades/both');
  expect(report.failures.map(({ line }) => line)).toEqual([]);
  expect(report).toMatchObject({ verdict: 'PASS', capture: { cutOff: '', incompleteParts: 0, connections: 6 } });
  expect(await post(replaying, 'capture', { output: 's3://traffic/upgrades/both', duration: '10m' })).toMatch(/^400 .*already exists/);
}, 120_000);
