import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Capability } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';
import { type MariadbServer, startMariadb } from '@binnacle/testing/mariadb-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { Captured, readCaptured, shown } from './captured.js';
import { startProxy } from './proxy-process.js';
import { ProxyNode } from './proxy-node.js';
import { WireClient } from './wire-client.js';

const tables = "CREATE TABLE test.t (id INT PRIMARY KEY, v VARCHAR(100)); INSERT INTO test.t VALUES (1, 'one'), (2, 'two'), (3, NULL)";
let server: MariadbServer;
let node: ProxyNode;
let captured: Captured;
const clients: WireClient[] = [];

beforeAll(async () => {
  server = await startMariadb({ args: ['--max-allowed-packet=64M'] });
  await server.sql(tables);
  node = await ProxyNode.start({ proxy: { backends: [`127.0.0.1:${server.port}`], keepCredentials: true } });
  await node.healthy(1);
}, 90_000);

afterAll(async () => {
  await node?.stop();
  await server?.stop();
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await captured?.stop();
  captured?.remove();
});

const wanted = Capability.deprecateEof | Capability.multiStatements | Capability.multiResults;

async function login(port = node.port): Promise<WireClient> {
  const client = await WireClient.login({ port, user: 'root', password: 'root', database: 'test', capabilities: wanted });
  clients.push(client);
  return client;
}

test('a session that sends 100 MB is captured to the last byte, but for what is larger than may wait', async () => {
  captured = new Captured(node);
  await captured.start();
  const client = await login();
  const lengths: number[] = [];
  const send = async (bytes: number): Promise<void> => {
    const text = `SELECT LENGTH('${'abcdefgh'.repeat(Math.ceil(bytes / 8)).slice(0, bytes)}')`;
    lengths.push(text.length);
    const answer = await client.send(Command.query, text);
    expect(answer[2]!.toString('latin1', 1)).toBe(String(bytes));
  };
  for (let count = 0; count < 25; count++) await send(2_000_000 + count);
  await send(65_536);
  // Longer than one frame, and as long as one.
  await send(20_000_000);
  await send(16_777_215 - 18);
  await client.send(Command.query, 'SELECT 1');
  await client.send(Command.query, `SELECT LENGTH('${'x'.repeat(40_000_000)}')`);
  await client.send(Command.quit);
  await waitUntil(async () => (await node.sessions()).length === 0, { what: 'its session has ended' });
  expect(await captured.stop()).toMatchObject({ state: 'done', error: '', buffered: 0, leftOut: { 'too-large': 1 }, incomplete: { 'left-out': 1 } });
  const [{ records, results } = { records: [], results: new Map() }] = await captured.read();
  const queries = records.filter(({ command }) => command === Command.query);
  expect(queries.slice(0, lengths.length).map(({ payload }) => payload.length)).toEqual(lengths);
  for (const { payload } of queries.slice(0, lengths.length)) {
    const text = Buffer.from(payload).toString('latin1');
    expect(text.slice(0, 15) + text.slice(-2)).toBe("SELECT LENGTH('')");
    expect(/^(?:abcdefgh)*[a-h]*$/.test(text.slice(15, -2))).toBe(true);
  }
  expect(queries.at(-1)!.payload.length).toBe(8);
  expect(results.size).toBe(queries.length);
}, 120_000);

test('a session in a transaction begins behind it', async () => {
  const client = await login();
  await client.send(Command.query, 'BEGIN');
  await client.send(Command.query, 'SELECT * FROM t FOR UPDATE');
  captured = new Captured(node);
  expect(await captured.start()).toMatchObject({ waiting: 1, sessions: 0 });
  await client.send(Command.query, 'SELECT 1');
  await client.send(Command.query, 'COMMIT');
  expect(await captured.progress()).toMatchObject({ waiting: 1, sessions: 0 });
  await client.send(Command.query, 'SELECT 2');
  expect(await captured.stop()).toMatchObject({ waiting: 0, sessions: 1, incomplete: {} });
  expect((await captured.read())[0]!.records.map(shown)).toEqual(['InitDB test', 'Query SELECT 2']);
});

test('a KILL is in the files with the id that the client knows', async () => {
  captured = new Captured(node);
  await captured.start();
  const [client, victim] = [await login(), await login()];
  const sleeping = victim.send(Command.query, 'SELECT SLEEP(30)');
  await waitUntil(async () => (await node.session(victim.threadId)).phase === 'busy', { what: 'the victim sleeps' });
  await client.send(Command.query, `KILL QUERY ${victim.threadId}`);
  await sleeping;
  await captured.stop();
  const killer = (await captured.read()).find(({ records }) => records[0]!.connectionId === client.threadId)!;
  expect(killer.records.map(shown)).toEqual(['InitDB test', `Query KILL QUERY ${victim.threadId}`]);
  expect(killer.results.get(2)).toMatchObject({ errorCode: 0 });
});

test('a disk that is full ends the capture and not the traffic', async () => {
  captured = new Captured(node);
  const small = join(captured.folder, 'small');
  mkdirSync(small);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small]);
  try {
    await captured.start({ output: join(small, 'out') });
    const client = await login();
    await waitUntil(
      async () => {
        for (let count = 0; count < 20; count++) {
          const [, , row] = await client.send(Command.query, `SELECT LENGTH('${'x'.repeat(10_000)}')`);
          expect(row!.toString('latin1', 1)).toBe('10000');
        }
        return (await captured.progress()).state === 'failed';
      },
      { what: 'the capture has failed' },
    );
    expect((await captured.progress()).error).toMatch(/ENOSPC|no space/i);
    expect(await captured.stop()).toMatchObject({ state: 'failed' });
    expect((await client.send(Command.query, 'SELECT 1')).length).toBeGreaterThan(2);
    expect((await readCaptured(join(small, 'out')))[0]!.records.length).toBeGreaterThan(10);
  } finally {
    execFileSync('umount', [small]);
  }
  // And the next one runs.
  await captured.start();
  expect(await captured.stop()).toMatchObject({ state: 'done' });
}, 60_000);

test('what was captured until a worker is killed can be read', async () => {
  captured = new Captured(node);
  const proxy = await startProxy({ backends: [`127.0.0.1:${server.port}`], toml: `traffic-roots = [${JSON.stringify(captured.folder)}]` });
  const output = join(captured.folder, 'killed');
  try {
    await proxy.form('/api/traffic/capture', { output, duration: '1m', compress: 'true' });
    const client = await login(proxy.port);
    for (let count = 0; count < 100; count++) await client.send(Command.query, `SELECT ${count}`);
    await waitUntil(() => readdirSync(output).some((name) => name.startsWith('results-')), { what: 'results are written' });
    await client.send(Command.query, 'SELECT 1000');
    await waitUntil(async () => (await readCaptured(output))[0]?.results.size === 101, { what: 'all is on the disk', intervalMs: 100 });
    proxy.signal('SIGKILL');
    expect(await proxy.ended()).toBe('SIGKILL');
    const [{ records, results } = { records: [], results: new Map() }] = await readCaptured(output);
    expect(records.map(shown)).toEqual(['InitDB test', ...Array.from({ length: 100 }, (_, count) => `Query SELECT ${count}`), 'Query SELECT 1000']);
    expect(results.size).toBe(101);
  } finally {
    await proxy.stop();
  }
}, 60_000);

test('checksums are equal on equal servers and tell a row that differs', async () => {
  const other = await startMariadb();
  try {
    await other.sql(tables);
    const otherNode = await ProxyNode.start({ proxy: { backends: [`127.0.0.1:${other.port}`] } });
    const results = async (on: ProxyNode): Promise<unknown[]> => {
      const capture = new Captured(on);
      await capture.start();
      const client = await login(on.port);
      for (const text of ['SELECT * FROM t', 'SELECT * FROM t ORDER BY id DESC', 'SELECT COUNT(*) FROM t', 'SELECT v FROM t WHERE id = 2']) await client.send(Command.query, text);
      await capture.stop();
      const [connection] = await capture.read();
      capture.remove();
      return [...connection!.results.values()].map(({ rows, ordered, unordered }) => [rows, ordered, unordered]);
    };
    try {
      await otherNode.healthy(1);
      const [here, there] = [await results(node), await results(otherNode)];
      expect(there).toEqual(here);
      expect((here[0] as string[])[2]).toBe((here[1] as string[])[2]);
      expect((here[0] as string[])[1]).not.toBe((here[1] as string[])[1]);
      await other.sql("UPDATE test.t SET v = 'twO' WHERE id = 2");
      const changed = await results(otherNode);
      expect(changed.map((figures, index) => JSON.stringify(figures) === JSON.stringify(here[index]))).toEqual([false, false, true, false]);
    } finally {
      await otherNode.stop();
    }
  } finally {
    await other.stop();
  }
}, 90_000);
