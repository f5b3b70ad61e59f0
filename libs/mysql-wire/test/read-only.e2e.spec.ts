import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { seededRandom } from '@binnacle/testing/seeded-random';
import { startMariadb, type MariadbServer } from '@binnacle/testing/mariadb-server';
import mysql, { type RowDataPacket } from 'mysql2/promise';
import { statementNature } from '../src/read-only.js';
import { reading } from './reading-statements.js';

let server: MariadbServer;

beforeAll(async () => {
  server = await startMariadb({ args: ['--gtid-strict-mode=0'] });
  await server.sql(`
    USE test;
    CREATE TABLE t (a INT, b INT, c TEXT, d TEXT, \`1a\` INT, \`update\` INT, \`delete\` INT, \`lock\` INT, \`FOR UPDATE\` INT, sleep INT, KEY i (a)) WITH SYSTEM VERSIONING;
    INSERT INTO t (a, b, c) VALUES (1, 2, 'x'), (3, 4, 'y');
    CREATE TABLE u (a INT, b INT) ENGINE = MyISAM; INSERT INTO u VALUES (5, 6);
    CREATE SEQUENCE s; CREATE VIEW v AS SELECT a FROM t;
    CREATE FUNCTION f(x INT) RETURNS INT DETERMINISTIC RETURN x;
    CREATE USER a@b IDENTIFIED BY 'x';
  `);
}, 120_000);

afterAll(() => server?.stop());

/** All that a statement could have changed: data, accounts, definitions, global variables, what was written to the binary log. */
async function fingerprint(): Promise<string> {
  const tables = await server.sql("SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables WHERE table_schema IN ('test', 'mysql') AND table_type <> 'VIEW' AND table_name NOT LIKE '%log' ORDER BY 1");
  const names = tables.trim().split('\n').map((name) => name.split('.').map((part) => `\`${part}\``).join('.'));
  const parts = [
    await server.sql(`CHECKSUM TABLE ${names.join(', ')}`),
    await server.sql('SELECT * FROM mysql.global_priv ORDER BY user, host; SHOW DATABASES; SELECT * FROM test.s; SELECT @@global.gtid_binlog_pos; SELECT * FROM information_schema.routines ORDER BY 1, 2, 3'),
    await server.sql("SELECT * FROM information_schema.global_variables WHERE variable_name NOT IN ('timestamp', 'gtid_binlog_state') ORDER BY 1"),
  ];
  return parts.join('\n');
}

test('a real server is the same after every statement that is known to read', async () => {
  const before = await fingerprint();
  const connection = await mysql.createConnection({ host: '127.0.0.1', port: server.port, user: 'root', password: 'root', database: 'test', multipleStatements: true });
  let executed = 0;
  for (const text of reading) {
    expect([text, statementNature(text, { ansiQuotes: false, noBackslashEscapes: false }).refusal]).toEqual([text, undefined]);
    // Some are of other servers, and errors here.
    await connection.query(text).then(() => executed++, () => {});
    // Statements that change how text is read are for the next test.
    await connection.query("SET sql_mode = DEFAULT, NAMES utf8mb4, SESSION TRANSACTION READ WRITE; ROLLBACK; USE test").catch(() => connection.query('ROLLBACK'));
  }
  await connection.end();
  expect(executed).toBeGreaterThan(reading.length * 0.7);
  expect(await fingerprint()).toBe(before);
});

/** Behind a prefix that reads, each of these would change something, lock something, or wait. */
const harmful = [
  "INSERT INTO t (a) VALUES (9)", 'DELETE FROM u', 'UPDATE u SET a = a + 1', 'SELECT NEXTVAL(s)', 'SELECT NEXT VALUE FOR s', "SELECT GET_LOCK('a', 0)", "SET GLOBAL max_connections = 77", 'CREATE TABLE w (a INT)', 'ANALYZE DELETE FROM u', 'DROP USER a@b',
  "SELECT * FROM u INTO OUTFILE '/tmp/binnacle-never'", 'SELECT f(1)', 'SELECT a FROM u FOR UPDATE', 'SELECT SETVAL(s, 100)', 'EXECUTE IMMEDIATE "DELETE FROM u"', 'BEGIN NOT ATOMIC DELETE FROM u; END',
];
const wrappings = [
  (text: string) => text, (text: string) => `SELECT 1; ${text}`, (text: string) => `/*! ${text} */`, (text: string) => `/*M!100000 ${text} */`, (text: string) => `-- x\n${text}`, (text: string) => `#\n${text}`, (text: string) => `/**/${text}`,
  (text: string) => `SELECT '\\\\'; ${text}`, (text: string) => `SELECT 'it''s'; ${text}`, (text: string) => `SELECT "'"; ${text}; -- '`, (text: string) => `PREPARE p FROM '${text.replaceAll("'", "''")}'`, (text: string) => `EXPLAIN ANALYZE ${text}`, (text: string) => `ANALYZE FORMAT=JSON ${text}; ${text}`,
  (text: string) => `SET STATEMENT max_statement_time = 1 FOR ${text}`, (text: string) => `SELECT 1 -- \n; ${text}`, (text: string) => `SELECT 1--1; ${text}`, (text: string) => `SELECT 1 --\t/*\n; ${text} -- */`, (text: string) => `SELECT \`a\\\`, 1 FROM (SELECT 1 AS \`a\\\`) d; ${text}`,
];

test('what is hidden behind what reads is refused, and what is let through changes nothing', async () => {
  const before = await fingerprint();
  const connection = await mysql.createConnection({ host: '127.0.0.1', port: server.port, user: 'root', password: 'root', database: 'test', multipleStatements: true });
  for (const text of harmful) {
    for (const wrap of wrappings) {
      const wrapped = wrap(text);
      const { refusal } = statementNature(wrapped, { ansiQuotes: false, noBackslashEscapes: false });
      if (refusal === undefined) await connection.query(wrapped).catch(() => {});
      expect([wrapped, refusal]).toEqual([wrapped, expect.any(String)]);
    }
  }
  const [locks] = await connection.query<RowDataPacket[]>("SELECT IS_USED_LOCK('a') AS holder");
  expect(locks[0]!['holder']).toBeNull();
  await connection.end();
  expect(await fingerprint()).toBe(before);
});

const pieces = [
  'SELECT', ' 1', ' * FROM u', ' a FROM u', ' WITH x AS (SELECT 1)', ' DELETE FROM u', ' UPDATE u SET a = 9', ' INSERT INTO u VALUES (1, 2)', ' NEXTVAL(s)', ' NEXT VALUE FOR s', ' FOR UPDATE', ' LOCK IN SHARE MODE', " INTO @x", ';', ' ; ', ' (', ')', ',', ' UNION ', ' f(1)', ' `f`(1)',
  " '", ' "', ' `', " 'a\\'", ' "b\\"', " ''", '/*', '*/', ' /*!', ' /*!50000 ', ' /*M! ', ' /*+ ', '-- ', '--', '#', '\n', '\u{a0}', '1e5', ' @a := 1', ' SET', ' @a = 1', ' GLOBAL', ' @@global.max_connections = 99', ' max_statement_time = 0', ' SESSION', ' STATEMENT', ' FOR ', ' EXPLAIN', ' ANALYZE',
  ' FORMAT=JSON', ' PREPARE p FROM', ' EXECUTE p', ' EXECUTE IMMEDIATE', " 'DELETE FROM u'", ' BEGIN', ' NOT ATOMIC', ' END', ' COMMIT', ' START TRANSACTION', ' SHOW TABLES', ' WHERE', ' SUBSTRING(', ' FROM 1', ' AS', ' x', ' TABLE u', ' VALUES (1)', ' DO', ' CALL', ' ORDER BY', ' LIMIT 1',
];

test('whatever pieces are put together: what is said to read changes nothing', async () => {
  const before = await fingerprint();
  const random = seededRandom(20_261_122);
  const connection = await mysql.createConnection({ host: '127.0.0.1', port: server.port, user: 'root', password: 'root', database: 'test', multipleStatements: true, charset: 'latin1' });
  let reads = 0;
  for (let round = 0; round < 60_000; round++) {
    const text = Array.from({ length: 1 + random.below(8) }, () => random.oneOf(pieces)).join('');
    const { refusal, executes } = statementNature(text, { ansiQuotes: false, noBackslashEscapes: false });
    if (refusal !== undefined || executes !== undefined) continue;
    await connection.query(text).then(() => reads++, () => {});
  }
  await connection.query('ROLLBACK');
  await connection.end();
  expect(reads).toBeGreaterThan(100);
  expect(await fingerprint()).toBe(before);
}, 120_000);
