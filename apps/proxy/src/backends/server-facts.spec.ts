import { expect, test } from '@jest/globals';
import type { BackendConnection } from '../connection/backend-connection.js';
import { MysqlError } from '../connection/mysql-error.js';
import { readFacts, readStoredFunctions } from './server-facts.js';

type Rows = readonly Record<string, string | null>[];

/** A MySQL as the manual describes it: answers by what a statement contains, and refuses what it does not know. */
function mysql(answers: Record<string, Rows>, serverVersion = '8.4.3'): BackendConnection {
  const query = (sql: string): Promise<unknown> => {
    const found = Object.entries(answers).find(([part]) => sql.includes(part));
    if (found === undefined) return Promise.reject(new MysqlError({ code: 1064, sqlState: '42000' }, `no ${sql}`));
    const columns = Object.keys(found[1][0] ?? {});
    return Promise.resolve({ columns, rows: found[1].map((row) => columns.map((name) => (row[name] === null ? null : Buffer.from(row[name]!)))) });
  };
  return { kind: 'mysql', serverVersion, query } as unknown as BackendConnection;
}

const settings = { read_only: '0', server_id: '3', server_uuid: 'u-3', gtid: 'u-1:1-5,\nu-3:1-2' };
const plain = { '@@server_uuid AS': [settings], "LIKE 'wsrep_on'": [], "LIKE 'group_replication_group_name'": [] };

test('a MySQL that stands alone', async () => {
  expect(await readFacts(mysql({ ...plain, 'SHOW REPLICA STATUS': [] }), 1_000)).toEqual({ readOnly: false, serverUuid: 'u-3', serverId: '3', gtidPosition: 'u-1:1-5,u-3:1-2', refused: [] });
});

test('a replica names its source, in the words of every version', async () => {
  const old = { 'SHOW SLAVE STATUS': [{ Master_Host: 'db1', Master_Port: '3306', Master_Server_Id: '1', Master_UUID: 'u-1' }] };
  const now = { 'SHOW REPLICA STATUS': [{ Source_Host: 'db1', Source_Port: '3306', Source_Server_Id: '1', Source_UUID: 'u-1' }] };
  const source = { host: 'db1', port: 3306, uuid: 'u-1', serverId: '1' };
  expect(await readFacts(mysql({ ...plain, ...now }), 1_000)).toMatchObject({ source, refused: [] });
  expect(await readFacts(mysql({ ...plain, ...old }, '5.7.44'), 1_000)).toMatchObject({ source, refused: [] });
  expect(await readFacts(mysql({ ...plain, ...old }, '8.0.20'), 1_000)).toMatchObject({ source, refused: [] });
});

test('a replica of several sources is a copy of none', async () => {
  const twice = [1, 2].map((port) => ({ Source_Host: 'db1', Source_Port: String(port) }));
  expect(await readFacts(mysql({ ...plain, 'SHOW REPLICA STATUS': twice }), 1_000)).not.toHaveProperty('source');
});

test('who may not ask for the source says so', async () => {
  expect(await readFacts(mysql(plain), 1_000)).toMatchObject({ refused: ['SHOW REPLICA STATUS'] });
});

test('a member of a group is ready only while it is online', async () => {
  const group = { ...plain, "LIKE 'group_replication_group_name'": [{ Variable_name: 'group_replication_group_name', Value: 'AAAA' }], 'SHOW REPLICA STATUS': [] };
  expect(await readFacts(mysql({ ...group, replication_group_members: [{ MEMBER_STATE: 'ONLINE' }] }), 1_000)).toMatchObject({ groupReplication: 'aaaa' });
  const away = await readFacts(mysql({ ...group, replication_group_members: [{ MEMBER_STATE: 'RECOVERING' }] }), 1_000);
  expect(away.notReady).toBe('group replication: this member is RECOVERING');
  expect(away).not.toHaveProperty('groupReplication');
});

test('functions are known only to a user who sees all of them', async () => {
  const routines = { 'information_schema.ROUTINES': [{ name: 'twice' }], 'mysql.func': [{ name: 'udf' }] };
  expect(await readStoredFunctions(mysql({ ...routines, USER_PRIVILEGES: [{ PRIVILEGE_TYPE: 'SELECT' }] }), 1_000)).toEqual(new Set(['twice', 'udf']));
  expect(await readStoredFunctions(mysql({ ...routines, USER_PRIVILEGES: [] }), 1_000)).toBeUndefined();
  expect(await readStoredFunctions(mysql({ USER_PRIVILEGES: [{ PRIVILEGE_TYPE: 'SELECT' }], 'mysql.func': [] }), 1_000)).toBeUndefined();
});
