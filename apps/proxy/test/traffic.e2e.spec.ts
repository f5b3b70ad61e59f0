import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type MariadbServer, startMariadb } from '@binnacle/testing/mariadb-server';
import { startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { createConnection } from 'mysql2/promise';
import type { DigestReport, TrafficReport } from '../src/traffic/report/traffic-report.js';
import { type ProxyProcess, startProxy } from './proxy-process.js';
import { runWorkload, schema } from './traffic-workload.js';

/* The rehearsal of an upgrade: captured in front of one server, replayed to another. Proxies are processes as they are built. */

interface ShownJob extends Readonly<Record<string, unknown>> {
  readonly id: string;
  readonly state: string;
  readonly error?: string;
  readonly commands: number;
}

const capturesTimeoutMs = 60_000;
let folder: string;
let before: MariadbServer;
let after: MariadbServer;
let capturing: ProxyProcess;
let replaying: ProxyProcess;

const show = async (proxy: ProxyProcess): Promise<ShownJob[]> => JSON.parse(String((await proxy.api('GET', '/api/traffic/show')).body['text'])) as ShownJob[];

async function ended(proxy: ProxyProcess): Promise<ShownJob> {
  await waitUntil(async () => (await show(proxy)).at(-1)?.state !== 'running', { what: 'the job ends', timeoutMs: capturesTimeoutMs, intervalMs: 100 });
  return (await show(proxy)).at(-1) as ShownJob;
}

async function post(proxy: ProxyProcess, path: string, fields: object): Promise<string> {
  const { status, body } = await proxy.api('POST', `/api/traffic/${path}`, fields);
  return `${status} ${String(body['text'])}`;
}

async function capture(name: string, fields: object, work: () => Promise<void>): Promise<ShownJob> {
  expect(await post(capturing, 'capture', { output: join(folder, name), duration: '10m', ...fields })).toBe('200 capture started');
  await work();
  expect(await post(capturing, 'cancel', { type: 'capture' })).toMatch(/^200 stopped: /);
  return ended(capturing);
}

async function replay(name: string, fields: object = {}): Promise<TrafficReport> {
  expect(await post(replaying, 'replay', { input: join(folder, name), username: 'root', password: 'root', ...fields })).toBe('200 replay started');
  const job = await ended(replaying);
  expect(job).toMatchObject({ state: 'done' });
  const { status, body } = await replaying.api('GET', '/api/traffic/report');
  expect(status).toBe(200);
  return body as unknown as TrafficReport;
}

const digestOf = (report: TrafficReport, text: RegExp): DigestReport => {
  const found = report.digests.find((digest) => text.test(digest.text));
  if (found === undefined) throw new Error(`no digest matches ${text}:\n${report.digests.map((digest) => digest.text).join('\n')}`);
  return found;
};

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'binnacle-traffic-')));
  [before, after] = await Promise.all([startMariadb(), startMariadb()]);
  await before.sql(schema);
  const toml = `traffic-roots = ["${folder}"]`;
  [capturing, replaying] = await Promise.all([before, after].map(({ port }) => startProxy({ backends: [`127.0.0.1:${port}`], toml }))) as [ProxyProcess, ProxyProcess];
}, 120_000);
afterAll(async () => {
  await Promise.all([capturing, replaying].map((proxy) => proxy.stop()));
  await Promise.all([before, after].map((server) => server.stop()));
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

describe('a day of an application, captured from one server and replayed to its copy', () => {
  test('is captured: TiProxy\'s files, results beside them, and no password', async () => {
    await before.sql(schema);
    const job = await capture('day', { 'explain-username': 'root', 'explain-password': 'root' }, () => runWorkload(capturing.port));
    expect(job).toMatchObject({ state: 'canceled', error: 'manually stopped' });
    expect(Object.values(job['parts'] as object)).toEqual([join(folder, 'day')]);
    expect(job.commands).toBeGreaterThan(150);
    const names = readdirSync(join(folder, 'day'));
    expect(names).toContain('meta');
    expect(names.some((name) => /^traffic-.*\.log\.gz$/.test(name))).toBe(true);
    expect(names.some((name) => name.startsWith('results-'))).toBe(true);
    expect(JSON.parse(readFileSync(join(folder, 'day/meta'), 'utf8'))).toMatchObject({ Version: 'v1' });
    expect(capturing.output).not.toMatch(/explain-password|"root".*password/);
  }, 120_000);

  test('PASS on the copy: every digest is equal', async () => {
    await after.sql(schema);
    const report = await replay('day');
    expect(report.failures.map(({ line }) => line)).toEqual([]);
    expect(report).toMatchObject({ verdict: 'PASS', totals: { different: 0, newError: 0, errorGone: 0, otherError: 0 } });
    expect(report.totals.equal).toBeGreaterThan(140);
    expect(report.totals.sameError).toBe(4);
    expect([report.capture.server, report.replay.server]).toEqual([0, 0].map(() => expect.stringMatching(/^1\d\.\d+\.\d+-MariaDB/)));
    // What it wrote is there, as in the original.
    const sums = 'CHECKSUM TABLE test.orders, test.customers';
    expect(await after.sql(sums)).toBe(await before.sql(sums));
  }, 120_000);

  test('FAIL names an index that is gone, a row that changed, and what another sql_mode does', async () => {
    await after.sql(`${schema} ALTER TABLE test.customers DROP KEY by_city; UPDATE test.customers SET name = 'somebody' WHERE id = 7; SET GLOBAL sql_mode = ''; ANALYZE TABLE test.customers`);
    try {
      const report = await replay('day', { 'explain-username': 'root', 'explain-password': 'root' });
      expect(report.verdict).toBe('FAIL');
      expect(new Set(report.failures.map(({ kind }) => kind))).toEqual(new Set(['plan', 'different', 'error-gone']));
      expect(digestOf(report, /^select id , name from customers where city = \?$/).plan).toMatchObject({ changed: true });
      expect(digestOf(report, /^select name , city from customers where id = \?$/)).toMatchObject({ different: 1, equal: 39 });
      expect(digestOf(report, /^insert into orders/)).toMatchObject({ errorGone: 1 });
    } finally {
      await after.sql('SET GLOBAL sql_mode = DEFAULT');
    }
  }, 120_000);

  test('read-only leaves the copy as it is', async () => {
    await after.sql(schema);
    const sums = 'CHECKSUM TABLE test.orders, test.customers, test.notes';
    const untouched = await after.sql(sums);
    const report = await replay('day', { readonly: 'true' });
    expect(report.totals.skipped['read-only']).toBeGreaterThan(10);
    expect(await after.sql(sums)).toBe(untouched);
  }, 120_000);

  test('filters leave only what they name', async () => {
    await after.sql(schema);
    const { digest } = digestOf(await replay('day', { readonly: 'true' }), /^select id , name from customers where city = \?$/);
    const report = await replay('day', { digests: digest });
    expect(report.digests.filter(({ commands, skipped }) => commands > Object.values(skipped).reduce((sum, each) => sum + each, 0)).map((each) => each.digest)).toEqual([digest]);
  }, 120_000);
});

test('two proxy nodes, one of them with two workers, write parts that are replayed as one; what another node runs is refused', async () => {
  const redis = await startRedis();
  const toml = (workers: number): string => `traffic-roots = ["${folder}"]\nworkers = ${workers}\n[redis]\nurl = "${redis.url}"`;
  const nodes = await Promise.all([1, 2].map((workers) => startProxy({ backends: [`127.0.0.1:${before.port}`], toml: toml(workers) })));
  const [first, second] = nodes as [ProxyProcess, ProxyProcess];
  try {
    await before.sql(schema);
    const known = async (): Promise<object> => ((await first.api('GET', '/api/v1/backends')).body['backends'] as { nodes: object }[])[0]?.nodes ?? {};
    await waitUntil(async () => Object.keys(await known()).length === 2, { what: 'they know each other' });
    expect(await post(first, 'capture', { output: join(folder, 'parts'), duration: '10m' })).toBe('200 capture started');
    expect(await post(second, 'capture', { output: join(folder, 'more'), duration: '10m' })).toMatch(/^409 start capture failed: a job is running: \{"type":"capture","status":"running"/);
    for (const { port } of [first, second, second, second]) {
      const client = await createConnection({ host: '127.0.0.1', port, user: 'root', password: 'root', database: 'test' });
      for (let id = 1; id <= 20; id++) await client.execute('SELECT name FROM customers WHERE id = ?', [id]);
      await client.end();
    }
    expect(await post(second, 'cancel', {})).toMatch(/^200 stopped: /);
    const job = await ended(second);
    const parts = Object.keys(job['parts'] as object);
    expect(parts.filter((part) => /-w[01]$/.test(part))).toHaveLength(2);
    expect(readdirSync(join(folder, 'parts')).sort()).toEqual(parts.sort());
    expect(parts).toHaveLength(3);
  } finally {
    await Promise.all(nodes.map((node) => node.stop()));
    await redis.stop();
  }
  await after.sql(schema);
  const report = await replay('parts');
  expect(report).toMatchObject({ verdict: 'PASS', capture: { connections: 4 } });
  expect(digestOf(report, /^select name from customers where id = \?$/)).toMatchObject({ equal: 80 });
}, 180_000);

test('a replay whose process dies is told as failed, and one that is canceled has a report that says so', async () => {
  await capture('slow', {}, async () => {
    const client = await createConnection({ host: '127.0.0.1', port: capturing.port, user: 'root', password: 'root' });
    for (let second = 0; second < 3; second++) await client.query('SELECT SLEEP(1)');
    await client.end();
  });
  const begin = (): Promise<string> => post(replaying, 'replay', { input: join(folder, 'slow'), username: 'root', password: 'root', speed: 0.1 });
  const sent = (count: number): Promise<unknown> => waitUntil(async () => Number((await show(replaying)).at(-1)?.['sent']) >= count, { what: 'it replays', timeoutMs: 20_000 });
  expect(await begin()).toBe('200 replay started');
  await sent(1);
  const [child] = readFileSync(`/proc/${replaying.pid}/task/${replaying.pid}/children`, 'utf8').trim().split(' ');
  process.kill(Number(child), 'SIGKILL');
  expect(await ended(replaying)).toMatchObject({ state: 'failed', error: 'the process for it died (signal SIGKILL)' });
  expect(await begin()).toBe('200 replay started');
  await sent(1);
  expect(await post(replaying, 'cancel', {})).toMatch(/^200 stopped: \{"type":"replay","status":"canceled"/);
  expect(await ended(replaying)).toMatchObject({ state: 'canceled', error: 'manually stopped', verdict: 'FAIL' });
  const { body } = await replaying.api('GET', '/api/traffic/report');
  expect(body).toMatchObject({ verdict: 'FAIL', replay: { cutOff: 'manually stopped' } });
}, 120_000);

test('with a key file nothing of it can be read without the key', async () => {
  const key = join(folder, 'key');
  writeFileSync(key, 'k'.repeat(32), { mode: 0o600 });
  const toml = `traffic-roots = ["${folder}"]\n[security]\nencryption-key-path = "${key}"`;
  const proxy = await startProxy({ backends: [`127.0.0.1:${before.port}`], toml });
  try {
    expect(await post(proxy, 'capture', { output: join(folder, 'sealed'), duration: '10m', 'encrypt-method': 'aes256-ctr', compress: 'false' })).toBe('200 capture started');
    const client = await createConnection({ host: '127.0.0.1', port: proxy.port, user: 'root', password: 'root' });
    await client.query("SELECT 'a very visible text'");
    await client.end();
    await post(proxy, 'cancel', {});
    for (const name of readdirSync(join(folder, 'sealed'))) expect(readFileSync(join(folder, 'sealed', name)).includes('visible')).toBe(false);
    // The other proxy has no key.
    expect(await post(replaying, 'replay', { input: join(folder, 'sealed'), username: 'root', password: 'root' })).toMatch(/^200/);
    expect(await ended(replaying)).toMatchObject({ state: 'failed', error: expect.stringMatching(/key/) });
    expect(await post(proxy, 'replay', { input: join(folder, 'sealed'), username: 'root', password: 'root' })).toMatch(/^200/);
    expect(await ended(proxy)).toMatchObject({ state: 'done', verdict: 'PASS' });
  } finally {
    await proxy.stop();
  }
}, 120_000);

test('a proxy that is killed while it captures leaves files that can be replayed, and the report says that they end early', async () => {
  const victim = await startProxy({ backends: [`127.0.0.1:${before.port}`], toml: `traffic-roots = ["${folder}"]` });
  expect(await post(victim, 'capture', { output: join(folder, 'killed'), duration: '10m', compress: 'false' })).toBe('200 capture started');
  const client = await createConnection({ host: '127.0.0.1', port: victim.port, user: 'root', password: 'root', database: 'test' });
  client.on('error', () => {});
  for (let id = 1; id <= 50; id++) await client.query('SELECT name FROM customers WHERE id = ?', [id]);
  // What is buffered goes to the disk by itself.
  await waitUntil(() => existsSync(join(folder, 'killed')) && readdirSync(join(folder, 'killed')).some((name) => readFileSync(join(folder, 'killed', name)).includes('WHERE id = 50')), { what: 'it is written', timeoutMs: 30_000 });
  await victim.stop();
  client.destroy();
  await after.sql(schema);
  const report = await replay('killed');
  expect(report.totals.commands).toBeGreaterThanOrEqual(50);
  expect(report.capture.cutOff).not.toBe('');
  expect(report.failures).toContainEqual(expect.objectContaining({ kind: 'incomplete' }));
  // Damage that is skipped on request is told, and is no PASS.
  const [name] = readdirSync(join(folder, 'killed')).filter((each) => /^traffic-\d{4}-/.test(each));
  const file = join(folder, 'killed', name!);
  writeFileSync(file, readFileSync(file, 'latin1').replace(/# Payload_len: \d+\n(?=SELECT name FROM customers WHERE id = 30)/, '# Payload_len: x\n'), 'latin1');
  const damaged = await replay('killed', { 'ignore-errs': 'true' });
  expect(damaged.capture.cutOff).toMatch(/damage/);
  expect((await show(replaying)).at(-1)?.['notes']).toContainEqual(expect.stringContaining('Payload_len'));
}, 120_000);

test('a replay that cannot log in says so, and not its password', async () => {
  await capture('tiny', {}, async () => {
    const client = await createConnection({ host: '127.0.0.1', port: capturing.port, user: 'root', password: 'root' });
    await client.query('SELECT 1');
    await client.end();
  });
  expect(await post(replaying, 'replay', { input: join(folder, 'tiny'), username: 'root', password: 'hunter2' })).toBe('200 replay started');
  const job = await ended(replaying);
  expect(job.state).not.toBe('running');
  expect(JSON.stringify(job) + replaying.output).not.toContain('hunter2');
  expect(`${job.error ?? ''}${String(job['verdictLine'] ?? '')}`).toMatch(/denied|log in|login|FAIL/i);
}, 60_000);
