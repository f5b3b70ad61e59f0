import { expect, test } from '@jest/globals';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { startScriptedPd } from './scripted-pd.js';
import { startScriptedTidb } from './scripted-tidb.js';
import { waitUntil } from './wait-until.js';

const login = (port: number): Promise<Connection> => createConnection({ host: '127.0.0.1', port, user: 'root', password: 'root', database: 'test' });

test('a real client logs in, prepares, and takes the states of a session elsewhere', async () => {
  const [from, to] = await Promise.all([startScriptedTidb(), startScriptedTidb()]);
  const client = await login(from.port);
  await client.query("SET @a = 'it''s \\\\ \\n'");
  expect(await client.query('SELECT @a')).toMatchObject([[{ '@a': "it's \\ \n" }], {}]);
  expect((await client.execute('SELECT 7'))[0]).toEqual([{ text: 'SELECT 7' }]);
  const [[states]] = await client.query<RowDataPacket[]>('SHOW SESSION_STATES');
  expect(states).toMatchObject({ Session_states: expect.stringContaining('"current-db":"test"'), Session_token: expect.stringMatching(/"username":"root"/) });
  expect((states as { Session_token: string }).Session_token.length).toBeGreaterThan(255);
  await client.query('BEGIN');
  await expect(client.query('SHOW SESSION_STATES')).rejects.toMatchObject({ errno: 8146 });

  const moved = await login(to.port);
  await moved.query('SET SESSION_STATES ?', [(states as { Session_states: string }).Session_states]);
  expect(await moved.query('SELECT @a')).toMatchObject([[{ '@a': "it's \\ \n" }], {}]);
  await expect(createConnection({ host: '127.0.0.1', port: to.port, user: 'root', password: 'wrong' })).rejects.toMatchObject({ errno: 1045 });
  expect(to.logins.map(({ user, plugin }) => `${user} ${plugin}`)).toEqual(['root mysql_native_password', 'root mysql_native_password']);
  expect(from.queries.at(-1)).toBe('SHOW SESSION_STATES');
  client.destroy();
  moved.destroy();
  await waitUntil(() => from.sessionCount + to.sessionCount === 0);
  await Promise.all([from.stop(), to.stop()]);
});

test('PD tells who is there, and status ports how they are', async () => {
  const tidb = await startScriptedTidb({ labels: { zone: 'a' } });
  const pd = await startScriptedPd(() => [tidb]);
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const answer = await fetch(`http://${pd.address}/v3/kv/range`, { method: 'POST', body: JSON.stringify({ key: base64('/topology/tidb/'), range_end: base64('/topology/tidb0') }) });
  const { kvs } = (await answer.json()) as { kvs: { key: string; value: string }[] };
  expect(kvs.map(({ key }) => Buffer.from(key, 'base64').toString())).toEqual([`/topology/tidb/${tidb.address}/info`, `/topology/tidb/${tidb.address}/ttl`]);
  expect(JSON.parse(Buffer.from(kvs[0]!.value, 'base64').toString())).toMatchObject({ status_port: tidb.statusPort, labels: { zone: 'a' } });
  expect((await fetch(`http://127.0.0.1:${tidb.statusPort}/status`)).status).toBe(200);
  tidb.shuttingDown = true;
  expect((await fetch(`http://127.0.0.1:${tidb.statusPort}/status`)).status).toBe(500);
  await Promise.all([tidb.stop(), pd.stop()]);
});
