import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type MariadbServer, startMariadb } from '@binnacle/testing/mariadb-server';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { ProxyNode } from './proxy-node.js';

describe('two proxy nodes of one cluster', () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'binnacle-proxies-'));
  let server: MariadbServer;
  let redis: RedisServer;
  let nodes: [ProxyNode, ProxyNode];

  beforeAll(async () => {
    [server, redis] = await Promise.all([startMariadb(), startRedis()]);
    const start = (id: string) => ProxyNode.start({ id, dataDir, redisUrl: redis.url, proxy: { backends: [`127.0.0.1:${server.port}`] } });
    nodes = [await start('p1'), await start('p2')];
    await Promise.all(nodes.map((node) => node.healthy(1)));
    await waitUntil(async () => (await nodes[0].sessions()).length === 0 && (await nodes[0].ask('GET', '/api/v1/backends')).body.backends?.[0]?.nodes['p2'] === 0, { what: 'they know each other' });
  }, 90_000);

  afterAll(async () => {
    for (const node of nodes) await node.stop();
    await Promise.all([server.stop(), redis.stop()]);
    rmSync(dataDir, { recursive: true, force: true });
  }, 60_000);

  test('each lists the sessions of both, or of the one that is named, and ends those of the other', async () => {
    const [first, second] = [await nodes[0].connect(), await nodes[1].connect()];
    for (const client of [first, second]) client.on('error', () => {});
    await waitUntil(async () => (await nodes[0].sessions()).length === 2, { what: 'both are listed' });
    for (const node of nodes) {
      const listed = await node.sessions();
      expect(listed.map((session) => [session.id, session.node]).sort()).toEqual([[first.threadId, 'p1'], [second.threadId, 'p2']].sort());
      expect((await node.sessions('?node=p2')).map(({ id }) => id)).toEqual([second.threadId]);
      expect((await node.session(first.threadId)).node).toBe('p1');
    }
    expect((await nodes[0].ask('GET', '/api/v1/sessions?node=p9')).status).toBe(404);
    // Workers count their sessions ten times a second.
    await waitUntil(async () => (await nodes[0].ask('GET', '/api/v1/backends')).body.backends?.[0]?.sessions === 2, { what: 'both are counted' });
    expect((await nodes[0].ask('GET', '/api/v1/backends')).body.backends).toMatchObject([{ sessions: 2, nodes: { p1: 1, p2: 1 } }]);
    expect((await nodes[0].migrate(second.threadId)).body).toMatchObject({ node: 'p2', result: 'refused', why: [{ code: 'no-target' }] });
    expect((await nodes[0].ask('DELETE', `/api/v1/sessions/${second.threadId}`)).status).toBe(200);
    await expect(second.query('SELECT 1')).rejects.toThrow();
    await waitUntil(async () => (await nodes[1].sessions()).length === 1, { what: 'it is gone' });
    await first.end();
  }, 30_000);

  test('KILL finds its session on the other node', async () => {
    const [killer, victim] = [await nodes[0].connect(), await nodes[1].connect()];
    victim.on('error', () => {});
    const sleep = victim.query('SELECT SLEEP(30) AS slept').then(([rows]) => rows, (error: { errno: number }) => error.errno);
    await waitUntil(async () => (await nodes[1].session(victim.threadId)).phase === 'busy', { what: 'it sleeps' });
    await killer.query(`KILL QUERY ${victim.threadId}`);
    expect([1317, [{ slept: 1 }]]).toContainEqual(await sleep);
    await killer.query(`KILL ${victim.threadId}`);
    await waitUntil(async () => (await nodes[0].sessions()).length === 1, { what: 'the killed session is gone' });
    await killer.end();
  }, 30_000);

  test('a drain holds for both, and for one that starts later', async () => {
    const id = `127.0.0.1:${server.port}`;
    expect((await nodes[0].ask('POST', `/api/v1/backends/${id}/drain`)).status).toBe(200);
    await waitUntil(async () => (await nodes[1].ask('GET', `/api/v1/backends/${id}`)).body.draining === true, { what: 'the other node drains it' });
    await expect(nodes[1].connect()).rejects.toThrow(/drained by an operator/);
    const late = await ProxyNode.start({ id: 'p3', dataDir, redisUrl: redis.url, proxy: { backends: [id] } });
    await late.healthy(1);
    await expect(late.connect()).rejects.toThrow(/drained by an operator/);
    await late.stop();
    expect((await nodes[1].ask('DELETE', `/api/v1/backends/${id}/drain`)).status).toBe(200);
    await waitUntil(() => nodes[0].connect().then((client) => client.end().then(() => true), () => false), { what: 'it takes sessions again' });
  }, 60_000);
});
