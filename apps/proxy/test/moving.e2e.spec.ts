import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type GaleraCluster, startGalera } from '@binnacle/testing/galera';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { ProxyNode } from './proxy-node.js';

describe('sessions on two servers in Galera', () => {
  let cluster: GaleraCluster;
  let proxy: ProxyNode;
  let backends: string[];
  let usersFile: string;

  beforeAll(async () => {
    cluster = await startGalera();
    backends = cluster.nodes.map(({ port }) => `127.0.0.1:${port}`);
    await cluster.nodes[0]!.sql('CREATE TABLE test.t (id INT PRIMARY KEY AUTO_INCREMENT, n INT)');
    usersFile = `${cluster.folder}/users.toml`;
    writeFileSync(usersFile, '[users]\nroot = "root"\n');
    proxy = await ProxyNode.start({ proxy: { backends, usersFile } });
    await proxy.healthy(2);
  }, 120_000);

  afterAll(async () => {
    await proxy.stop();
    await cluster.stop();
  }, 60_000);

  const other = (backend: string): string => backends.find((id) => id !== backend) as string;
  const serverPort = async (client: Connection): Promise<unknown> => (await client.query<RowDataPacket[]>('SELECT @@port AS port'))[0][0]?.['port'];

  test('one moves by the API with what it has, and says where it is', async () => {
    const client = await proxy.connect();
    await client.query("SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci, @kept = 'as it was', sql_mode = 'ANSI_QUOTES'");
    const statement = await client.prepare('SELECT ? + 1 AS next');
    const before = await proxy.session(client.threadId);
    expect(before).toMatchObject({ movable: true, why: [] });

    const moved = await proxy.migrate(client.threadId);
    expect(moved.body.why).toBeUndefined();
    expect(moved).toMatchObject({ status: 200, body: { id: client.threadId, result: 'moved', from: before.backend, to: other(before.backend), node: 'n0' } });
    expect(moved.body.pauseMs).toBeGreaterThan(0);
    expect(String(moved.body.pauseMs)).toMatch(/^\d+(\.\d{1,2})?$/);
    expect((await proxy.session(client.threadId)).backend).toBe(other(before.backend));
    expect(await serverPort(client)).toBe(Number(other(before.backend).split(':')[1]));
    const [rows] = await client.query('SELECT @kept AS kept, @@collation_connection AS collation, @@sql_mode AS mode');
    expect(rows).toEqual([{ kept: 'as it was', collation: 'utf8mb4_unicode_ci', mode: 'ANSI_QUOTES' }]);
    expect((await statement.execute([41]))[0]).toEqual([{ next: 42 }]);
    await client.end();
  }, 30_000);

  test('one whose connections to backends are compressed does and moves as others', async () => {
    await proxy.configure({ proxy: { 'backend-compression': 'zlib' } });
    const client = await proxy.connect();
    const compression = async (): Promise<unknown> => (await client.query<RowDataPacket[]>("SHOW SESSION STATUS LIKE 'Compression'"))[0][0]?.['Value'];
    const statement = await client.prepare('SELECT LENGTH(?) AS bytes, REPEAT(?, 100000) AS much');
    const executed = async (): Promise<unknown> => (await statement.execute(['c'.repeat(300_000), 'ab']))[0];
    const { backend } = await proxy.session(client.threadId);
    for (const place of [backend, other(backend)]) {
      if (place !== backend) expect(await proxy.migrate(client.threadId, place)).toMatchObject({ status: 200, body: { result: 'moved', to: place } });
      expect(await compression()).toBe('ON');
      expect(await executed()).toEqual([{ bytes: 300_000, much: 'ab'.repeat(100_000) }]);
    }
    await client.end();
    await proxy.configure({ proxy: { 'backend-compression': '' } });
    const plain = await proxy.connect();
    expect((await plain.query<RowDataPacket[]>("SHOW SESSION STATUS LIKE 'Compression'"))[0][0]?.['Value']).toBe('OFF');
    await plain.end();
  }, 30_000);

  test('one that cannot move says exactly why, and stays as it was', async () => {
    const client = await proxy.connect();
    await client.query('CREATE TEMPORARY TABLE here (n INT)');
    const answer = await proxy.migrate(client.threadId);
    expect(answer.status).toBe(409);
    expect(answer.body).toMatchObject({ result: 'refused', why: [{ code: 'temporary-table' }] });
    await waitUntil(async () => (await proxy.sessions('?movable=false')).map(({ id }) => id).join() === String(client.threadId), { what: 'it is the only one listed' });
    await client.query('INSERT INTO here VALUES (1)');
    expect((await proxy.migrate(client.threadId, 'nowhere:1')).body.why).toEqual([{ code: 'unknown-backend', text: 'there is no backend nowhere:1' }]);
    await client.end();
  }, 30_000);

  test('a drained backend loses those that can move, says why the others stay, and takes sessions again', async () => {
    const clients = await Promise.all(Array.from({ length: 10 }, () => proxy.connect()));
    const stuck = clients[0] as Connection;
    await stuck.query('CREATE TEMPORARY TABLE here (n INT)');
    const drained = (await proxy.session(stuck.threadId)).backend;
    let errors = 0;
    let writes = 0;
    let stop = false;
    const load = clients.slice(1).map(async (client) => {
      while (!stop) {
        await client.query('BEGIN').then(() => client.query('INSERT INTO t (n) VALUES (1)')).then(() => client.query('COMMIT')).then(() => writes++, () => errors++);
      }
    });
    expect((await proxy.ask('POST', `/api/v1/backends/${drained}/drain`)).body).toMatchObject({ id: drained, drain: { drained: true } });
    await waitUntil(async () => (await proxy.sessions(`?backend=${drained}`)).length === 1, { what: 'only one is left', timeoutMs: 20_000 });
    expect((await proxy.ask('GET', `/api/v1/backends/${drained}`)).body.drain).toMatchObject({ drained: true, sessionsLeft: 1, movable: 0, stay: [{ code: 'temporary-table', sessions: 1 }] });
    const late = await proxy.connect();
    expect((await proxy.session(late.threadId)).backend).toBe(other(drained));
    stop = true;
    await Promise.all(load);
    expect(errors).toBe(0);
    expect(Number(await cluster.nodes[0]!.sql('SET SESSION wsrep_sync_wait=1; SELECT COUNT(*) FROM test.t'))).toBe(writes);
    expect((await proxy.ask('DELETE', `/api/v1/backends/${drained}/drain`)).status).toBe(200);
    expect((await proxy.ask('DELETE', `/api/v1/backends/${drained}/drain`)).status).toBe(404);
    await Promise.all([...clients, late].map((client) => client.end()));
  }, 60_000);

  test('the end of a session by the API stops what it runs', async () => {
    const client = await proxy.connect();
    client.on('error', () => {});
    const sleeps = async () => (await cluster.nodes[0]!.sql("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO = 'SELECT SLEEP(77)'")) + (await cluster.nodes[1]!.sql("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO = 'SELECT SLEEP(77)'"));
    const ended = client.query('SELECT SLEEP(77)').then(() => 'answered', () => 'ended');
    await waitUntil(async () => (await sleeps()).includes('1'), { what: 'it sleeps' });
    expect((await proxy.ask('DELETE', `/api/v1/sessions/${client.threadId}`)).status).toBe(200);
    expect(await ended).toBe('ended');
    await waitUntil(async () => !(await sleeps()).includes('1'), { what: 'the server has stopped it', timeoutMs: 10_000 });
  }, 30_000);

  test('when a server is killed, idle sessions of which all is known go on elsewhere, a read is sent again if that is wanted, and one in a transaction is told', async () => {
    const clients = await Promise.all(Array.from({ length: 8 }, () => proxy.connect()));
    for (const client of clients) client.on('error', () => {});
    const places = await Promise.all(clients.map(async (client) => (await proxy.session(client.threadId)).backend));
    const dead = places[0] as string;
    const node = cluster.nodes.find(({ port }) => dead === `127.0.0.1:${port}`)!;
    await clients[0]!.query('BEGIN');
    await clients[0]!.query('INSERT INTO t (n) VALUES (1)');
    await proxy.configure({ proxy: { 'read-retry': true } });
    const [reader] = clients.splice(places.indexOf(dead, 1), 1);
    const read = reader!.query('SELECT SLEEP(3) AS slept').then(([rows]) => rows, (error: Error) => error.message);
    await waitUntil(async () => (await proxy.session(reader!.threadId)).phase === 'busy', { what: 'it reads' });
    await node.kill9();
    try {
      const lost = await clients[0]!.query('COMMIT').then(() => 'committed', () => 'error');
      expect(lost).toBe('error');
      // Until the survivor has missed the killed node, it answers nobody.
      const answers = await Promise.all(clients.slice(1).map((client) => client.query('SELECT 1 AS one').then(([rows]) => rows, (error: Error) => error.message)));
      expect(answers).toEqual(answers.map(() => [{ one: 1 }]));
      expect(await read).toEqual([{ slept: 0 }]);
      expect(await proxy.metrics()).toContain('binnacle_proxy_read_retries_total{result="succeed"} 1\n');
      expect((await proxy.sessions(`?backend=${dead}`)).length).toBe(0);
    } finally {
      await proxy.configure({ proxy: { 'read-retry': false } });
      await node.restart();
      await proxy.healthy(2);
      for (const client of [...clients, reader!]) client.destroy();
    }
    await waitUntil(async () => (await proxy.sessions()).length === 0, { what: 'nobody is left' });
  }, 90_000);

  test("Ctrl-C at the mysql command line reaches the right backend, also after a migration", async () => {
    await waitUntil(async () => (await proxy.sessions()).length === 0, { what: 'the clients before have gone' });
    const args = ['--no-defaults', '--host=127.0.0.1', `--port=${proxy.port}`, '--user=root', '--password=root', '--unbuffered', '--force', '--sigint-ignore=0', 'test'];
    const child = spawn('mariadb', args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const unguard = guardProcess(child.pid as number, '');
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    try {
      await waitUntil(async () => (await proxy.sessions()).length === 1, { what: 'the client is there' });
      for (const round of [1, 2]) {
        const [session] = await proxy.sessions();
        if (round === 2) expect(await proxy.migrate(session!.id)).toMatchObject({ status: 200, body: { result: 'moved' } });
        child.stdin.write('SELECT SLEEP(100);\n');
        await waitUntil(async () => (await proxy.session(session!.id)).phase === 'busy', { what: 'it sleeps' });
        child.kill('SIGINT');
        await waitUntil(async () => (await proxy.session(session!.id)).phase === 'idle', { what: `it was woken, round ${round}: ${output}`, timeoutMs: 10_000 });
        // An error may still be asked about until a statement uses a table.
        child.stdin.write('SELECT COUNT(*) FROM t;\n');
        await waitUntil(async () => (await proxy.session(session!.id)).movable, { what: 'nothing keeps it' });
      }
    } finally {
      child.kill('SIGKILL');
      await exited(child);
      unguard();
    }
  }, 60_000);
});
