import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { type MariadbServer, startMariadb } from '@binnacle/testing/mariadb-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { createConnection } from 'mysql2/promise';
import { portsOf, type ProductProcess, root, startEmbedded, temporaryFolder } from './product.js';

/* `binnacle traffic` against the whole product, as an operator would use it. */

const { gateway, tiproxy, sql } = portsOf('traffic');
const folder = temporaryFolder('traffic');
const captures = join(folder.path, 'captures');
const schema = 'USE test; DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(10)); INSERT INTO t SELECT seq, seq * 7 FROM seq_1_to_100';
let before: MariadbServer;
let after: MariadbServer;
let product: ProductProcess;

class Run {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.child = spawn(process.execPath, ['apps/cli/dist/main.js', 'traffic', ...args], { cwd: root, env: { ...process.env, NODE_OPTIONS: '', TRAFFIC_PASSWORD: 'root', ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout?.on('data', (chunk: Buffer) => (this.stdout += chunk.toString()));
    this.child.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
    this.child.once('exit', guardProcess(this.child.pid ?? 0, ''));
  }

  async ended(): Promise<{ code: number | null; stdout: string; stderr: string }> {
    await exited(this.child);
    return { code: this.child.exitCode, stdout: this.stdout, stderr: this.stderr };
  }
}

const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) => new Run(args, env).ended();
const url = ['--url', `http://127.0.0.1:${gateway}`];

beforeAll(async () => {
  mkdirSync(captures);
  [before, after] = await Promise.all([startMariadb(), startMariadb()]);
  await Promise.all([before, after].map((server) => server.sql(schema)));
  product = await startEmbedded('traffic', join(folder.path, 'data'), [`--proxy.backends=127.0.0.1:${before.port}`, '--proxy.health-user=root', '--proxy.health-password=root', `--proxy.traffic-roots=${captures}`]);
}, 180_000);
afterAll(async () => {
  await product.stop();
  await Promise.all([before.stop(), after.stop()]);
  folder.remove();
}, 120_000);

async function queries(count: number): Promise<void> {
  const client = await createConnection({ host: '127.0.0.1', port: sql, user: 'root', password: 'root', database: 'test' });
  for (let id = 1; id <= count; id++) await client.execute('SELECT v FROM t WHERE id = ?', [id]);
  await client.query('SELECT * FROM missing').catch(() => undefined);
  await client.end();
}

describe('a rehearsal from the command line', () => {
  test('capture follows its job; Ctrl-C ends it and keeps what there is', async () => {
    const capture = new Run(['capture', '--output', join(captures, 'day'), '--duration', '10m', ...url]);
    await waitUntil(async () => (await run(['show', ...url])).stdout.includes('"running"') || capture.child.exitCode !== null, { what: 'it captures', timeoutMs: 60_000 });
    await queries(30);
    // Its first line comes at once, and by then it listens for Ctrl-C.
    await waitUntil(() => capture.stderr.includes('capture 0%') || capture.child.exitCode !== null, { what: 'a progress line', timeoutMs: 30_000 });
    capture.child.kill('SIGINT');
    const { code, stdout, stderr } = await capture.ended();
    expect(stderr).toContain('ends early, and keeps what there is');
    expect(stdout).toMatch(/^capture-\S+ canceled: manually stopped\ncapture \d+%: \d\d commands of 1 sessions/);
    expect(code).toBe(0);
  }, 120_000);

  test('replay to a target without a proxy: PASS is 0, FAIL is 1, and each says why', async () => {
    const target = ['--target', `127.0.0.1:${after.port}`, '--input', join(captures, 'day'), '--username', 'root'];
    const equal = await run(['replay', ...target, '--report', join(folder.path, 'report.json')]);
    expect(equal.stderr).not.toContain('binnacle:');
    expect(equal).toMatchObject({ code: 0, stdout: expect.stringMatching(/^PASS/) });
    await after.sql("UPDATE test.t SET v = 'other' WHERE id = 5");
    const different = await run(['replay', ...target]);
    expect(different).toMatchObject({ code: 1, stdout: expect.stringMatching(/^FAIL/) });
    expect(different.stdout).toMatch(/select .* from .*t.* where .*id/i);
    expect((await run(['replay', ...target, '--different-max', '0.5'])).code).toBe(0);
  }, 120_000);

  test('replay through the gateway, and its report as text, page and JSON', async () => {
    const replayed = await run(['replay', '--input', join(captures, 'day'), '--username', 'root', '--url', `http://127.0.0.1:${tiproxy}`]);
    expect(replayed).toMatchObject({ code: 0, stdout: expect.stringMatching(/^PASS/) });
    expect(await run(['report', ...url])).toMatchObject({ code: 0, stdout: replayed.stdout });
    const page = join(folder.path, 'report.html');
    expect(await run(['report', '--format', 'html', '-o', page, ...url])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^PASS/) });
    expect(readFileSync(page, 'utf8')).toMatch(/^<!doctype html>/i);
    const json = await run(['report', '--format', 'json', join(folder.path, 'report.json')]);
    expect(JSON.parse(json.stdout)).toMatchObject({ verdict: 'PASS', totals: { sameError: 1 } });
    const served = await fetch(`http://127.0.0.1:${gateway}/api/traffic/report`, { headers: { accept: 'text/html' } });
    expect([served.status, served.headers.get('content-type'), served.headers.get('content-security-policy')]).toEqual([200, 'text/html; charset=utf-8', expect.stringContaining("default-src 'none'")]);
  }, 120_000);

  test('a password is in no argument, and in a file as well', async () => {
    writeFileSync(join(folder.path, 'password'), 'root\n');
    const args = ['replay', '--target', `127.0.0.1:${after.port}`, '--input', join(captures, 'day'), '--username', 'root', '--password-file', join(folder.path, 'password'), '--different-max', '1'];
    expect((await run(args, { TRAFFIC_PASSWORD: 'wrong' })).code).toBe(0);
    const refused = await run(args.filter((arg) => !arg.includes('password')), { TRAFFIC_PASSWORD: 'hunter2' });
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('Access denied') });
    expect(refused.stderr).not.toContain('hunter2');
  }, 60_000);
});

test.each([
  ['nobody answers', ['show', '--url', `http://127.0.0.1:${gateway + 3}`], 'does not answer: ECONNREFUSED'],
  ['the output is elsewhere', ['capture', '--output', '/etc/x', '--duration', '1m', ...url], 'start capture failed: output must lie in one of'],
  ['the duration is none', ['capture', '--output', join(captures, 'x'), '--duration', '1d', ...url], 'unknown unit "d"'],
  ['there is no such report', ['report', 'replay-20200101T000000Z-00000000', ...url], 'report failed: there is no job'],
  ['an option is unknown', ['replay', '--input', '/x', '--username', 'u', '--inptu', '/y'], "unknown option '--inptu'"],
  ['an option is missing', ['replay', '--input', '/x'], "required option '--username <user>' not specified"],
  ['the report cannot be written', ['replay', '--target', '127.0.0.1:1', '--input', '/x', '--username', 'u', '--report', '/no/such/folder/x.json'], 'ENOENT'],
  ['the target is none', ['replay', '--target', 'nowhere', '--input', '/x', '--username', 'u'], '--target is host:port'],
  ['there are no files', ['replay', '--target', '127.0.0.1:1', '--input', join(captures, 'none'), '--username', 'u'], 'none'],
])('exit code 2 where %s', async (_what, args, text) => {
  const { code, stderr } = await run(args);
  expect(stderr).toContain(text);
  expect(code).toBe(2);
}, 60_000);
