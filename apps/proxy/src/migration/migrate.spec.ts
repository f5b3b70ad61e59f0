import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Command } from '@binnacle/mysql-wire/command';
import { framePayload } from '@binnacle/mysql-wire/packet-header';
import { createConnection, type ConnectionOptions, type FieldPacket } from 'mysql2';
import type { Session } from '../session/session.js';
import { answers, connect, execute, MovingSessions, prepare, timeoutMs, u32 } from '../../test/moving-sessions.js';

let moving: MovingSessions;

beforeAll(async () => {
  moving = await MovingSessions.start();
}, 120_000);

afterAll(() => moving.stop());

const movable: [string, readonly string[], readonly string[]][] = [
  ['nothing', [], ['SELECT DATABASE(), @@autocommit']],
  ['the schema', ['USE other'], ['SELECT DATABASE()', 'SHOW TABLES']],
  ['system variables', ["SET SESSION sql_mode='ANSI,NO_BACKSLASH_ESCAPES', lock_wait_timeout=7, long_query_time=1.5, sql_safe_updates=1, time_zone='+03:00', optimizer_switch='mrr=on', lc_time_names='de_DE'"],
    ['SELECT @@sql_mode, @@lock_wait_timeout, @@long_query_time, @@sql_safe_updates, @@time_zone, @@optimizer_switch, @@lc_time_names', `SELECT "a\\" FROM (SELECT 1 AS "a\\") t`]],
  ['autocommit off', ['SET autocommit=0'], ['SELECT @@autocommit, @@in_transaction', 'SELECT 1', 'SELECT @@in_transaction']],
  ['the isolation level', ['SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY'], ['SELECT @@tx_isolation, @@tx_read_only', "INSERT INTO test.t (b) VALUES ('x')"]],
  ['character sets', ['SET NAMES latin1 COLLATE latin1_german2_ci', 'SET character_set_results=NULL'],
    ['SELECT @@character_set_client, @@character_set_results, @@collation_connection', "SELECT 'ä' = 'ae', LENGTH('ä')"]],
  ['user variables', ["SET @a=1, @b=1.50, @c='x' COLLATE utf8mb4_bin, @d=1e0/3, @e=NULL, @f=18446744073709551615, @g=x'00ff5c27', @h=CAST(5 AS DECIMAL(10,0)), @i=-9223372036854775808, @j=_latin1 x'e4', @`k``l`='q', @m=1e300, @n=CAST(NULL AS SIGNED), @`ü`='ü\\'', @o=-1.25e-7"],
    ['SELECT * FROM information_schema.user_variables ORDER BY 1', 'SELECT @a, @b, @c, @d, @e, @f, HEX(@g), @h, @i, HEX(@j), @`k``l`, @m, @n, @`ü`, @o', 'SELECT COLLATION(@c), COLLATION(@g), COLLATION(@j), CHARSET(@`ü`)', 'SELECT @d * 3 = 1, @h / 3, @b + 1']],
  ['assignments that nobody reports', ['SELECT @x := 5', 'SELECT 7 INTO @y'], ['SELECT @x, @y', 'SELECT FOUND_ROWS(), ROW_COUNT()']],
  ['a role', ['SET ROLE auditor'], ['SELECT CURRENT_ROLE()']],
  ['LAST_INSERT_ID', ['SELECT LAST_INSERT_ID(18446744073709551615)'], ['SELECT LAST_INSERT_ID()', "INSERT INTO test.t (b) VALUES ('y')", 'SELECT LAST_INSERT_ID(), a FROM test.t']],
  ['the id of an insert', ["INSERT INTO test.t VALUES (NULL, 'z')"], ['SELECT ROW_COUNT(), LAST_INSERT_ID()']],
  ['a row count of 0', ['SELECT 1 UNION ALL SELECT 2', 'DO 0'], ['SELECT ROW_COUNT(), FOUND_ROWS()']],
  ['a row count of -1', ['SELECT 1 UNION ALL SELECT 2'], ['SELECT ROW_COUNT(), FOUND_ROWS()']],
  ['a row count of 1', ['SELECT 1 UNION ALL SELECT 2', "INSERT INTO test.t VALUES (5, 'z')"], ['SELECT ROW_COUNT(), FOUND_ROWS()']],
  ['SQL_CALC_FOUND_ROWS', ["SELECT SQL_CALC_FOUND_ROWS n.help_keyword_id FROM mysql.help_keyword n LIMIT 3"], ['SELECT FOUND_ROWS()']],
  ['no row found', ['SELECT 1 FROM test.t WHERE a = 0'], ['SELECT FOUND_ROWS(), ROW_COUNT()']],
  ['limits of the session', ['SET sql_select_limit=1, max_statement_time=5, group_concat_max_len=10'], ['SELECT 1 UNION ALL SELECT 2', 'SELECT @@max_statement_time, @@sql_big_selects', "SELECT REPEAT('a', 20)"]],
  ['PREPARE that is given up', ["PREPARE s FROM 'SELECT 1'", 'DEALLOCATE PREPARE s'], ['EXECUTE s']],
  ['a temporary table that is dropped', ['CREATE TEMPORARY TABLE test.tmp (a INT)', 'DROP TEMPORARY TABLE test.tmp'], ['SELECT * FROM test.tmp']],
  ['tables that are unlocked', ['LOCK TABLES test.t WRITE', 'UNLOCK TABLES'], ['SELECT COUNT(*) FROM test.t, other.t']],
  ['a lock that is free', ["SELECT GET_LOCK('free', 0)", "SELECT RELEASE_LOCK('free')"], ["SELECT IS_USED_LOCK('free')"]],
  ['locks that are all free', ["SELECT GET_LOCK(CONCAT('a', 'b'), 0)", 'SELECT RELEASE_ALL_LOCKS()'], ["SELECT IS_FREE_LOCK('ab')"]],
  ['a transaction that is over', ['START TRANSACTION READ ONLY', 'SELECT * FROM test.t', 'COMMIT'], ["INSERT INTO test.t VALUES (9, 'x')"]],
  ['an XA transaction that is over', ["XA START 'x'", "XA END 'x'", "XA ROLLBACK 'x'"], ['SELECT 1']],
  ['a handler that is closed', ['HANDLER test.t OPEN AS h', 'HANDLER h CLOSE'], ['SELECT 1']],
  ['system variables of the server', ['SET GLOBAL max_connect_errors=101'], ['SELECT 1']],
];

test.each(movable)('%s is the same after a move', async (_what, setup, questions) => {
  await moving.emptied();
  const untouched = await connect(moving.source.port);
  await answers(untouched, setup);
  const expected = await answers(untouched, questions);
  untouched.close();
  await moving.emptied();
  const { client, session } = await moving.proxied();
  await answers(client, setup);
  expect(await moving.move(session)).toMatchObject({ result: 'moved', why: [] });
  expect(session.backend.backend.port).toBe(moving.target.port);
  expect(await answers(client, questions)).toEqual(expected);
  client.close();
});

test('what belongs to a server stays there, and a user without rights on it can move', async () => {
  await moving.source.sql("CREATE USER shop@'127.0.0.1' IDENTIFIED BY 'shop'; GRANT ALL ON test.* TO shop@'127.0.0.1'");
  await moving.target.sql('SET GLOBAL gtid_domain_id=9, GLOBAL auto_increment_increment=2, GLOBAL auto_increment_offset=2');
  await moving.source.sql('FLUSH LOGS');
  const own = 'SELECT @@server_id = @@global.server_id, @@gtid_domain_id, @@auto_increment_increment, @@auto_increment_offset, @@lock_wait_timeout';
  const client = await connect(moving.port, 'shop');
  const session = [...moving.relay.sessions.values()].at(-1)!;
  session.credential = { kind: 'password', password: 'shop' };
  Object.assign(session.client, { user: 'shop' });
  await answers(client, ['SET lock_wait_timeout=5, @a=1', 'SELECT * FROM test.t']);
  expect(await moving.move(session)).toMatchObject({ result: 'moved', why: [] });
  expect(await answers(client, [own])).toMatchObject([[expect.anything(), [['1', '9', '2', '2', '5']]]]);
  const { client: root, session: ofRoot } = await moving.proxied();
  await answers(root, ['SET gtid_domain_id=3, auto_increment_increment=7']);
  expect(await moving.move(ofRoot)).toMatchObject({ result: 'moved', why: [] });
  expect(await answers(root, [own])).toMatchObject([[expect.anything(), [['1', '3', '7', '2', expect.anything()]]]]);
  for (const each of [client, root]) each.close();
  await moving.target.sql('SET GLOBAL gtid_domain_id=0, GLOBAL auto_increment_increment=1, GLOBAL auto_increment_offset=1');
});

test('prepared statements keep their ids, texts, schemas, parameter types and order', async () => {
  await moving.emptied();
  const { client, session } = await moving.proxied();
  await client.query('USE test', timeoutMs);
  const insert = await prepare(client, 'INSERT INTO t (b) VALUES (?)');
  const variable = await prepare(client, 'SET @set_by = ?');
  const forgotten = await prepare(client, 'DO 1');
  await client.query("SET sql_mode='ANSI_QUOTES'", timeoutMs);
  const quoted = await prepare(client, 'INSERT INTO "t" ("b") VALUES (\'quoted\')');
  await client.query("SET sql_mode=''", timeoutMs);
  await client.query('USE other', timeoutMs);
  const elsewhere = await prepare(client, 'INSERT INTO t VALUES (1, 2, 3)');
  client.channel.write(framePayload(Buffer.concat([Buffer.from([Command.stmtClose]), u32(forgotten)]), 0));
  const text = Buffer.from([0xfd, 0]);
  await execute(client, insert, text, Buffer.from('\x06before'));
  await execute(client, variable, Buffer.from([3, 0]), u32(7));
  expect(await moving.move(session)).toMatchObject({ result: 'moved', why: [] });
  await execute(client, insert, undefined, Buffer.from('\x05after'));
  await execute(client, variable, undefined, u32(8));
  await execute(client, quoted, undefined, Buffer.alloc(0), 0);
  await execute(client, elsewhere, undefined, Buffer.alloc(0), 0);
  expect(await answers(client, ['SELECT b FROM test.t ORDER BY a', 'SELECT @set_by + 1', 'SELECT DATABASE()'])).toMatchObject([[['b'], [['before'], ['after'], ['quoted']]], [[expect.anything()], [['9']]], [[expect.anything()], [['other']]]]);
  await expect(execute(client, forgotten, undefined, Buffer.alloc(0), 0)).rejects.toMatchObject({ code: 1243 });
  const again = await prepare(client, 'SELECT 1');
  expect([insert, variable, quoted, elsewhere]).not.toContain(again);
  client.close();
});

test.each([[224, undefined], [45, 'SET NAMES utf8mb4 COLLATE utf8mb4_bin'], [8, 'SET NAMES utf8mb4'], [45, 'SET NAMES latin1']])('what clients are told of columns is the same after a move: login in %d, %s', async (collation, setNames) => {
  const columnCollation = async (port: number, session?: () => Session): Promise<unknown> => {
    const client = createConnection({ host: '127.0.0.1', port, user: 'root', password: 'root', charsetNumber: collation } as ConnectionOptions);
    const asked = (text: string): Promise<FieldPacket[]> => new Promise((resolve, reject) => client.query(text, (error, _rows, fields) => (error ? reject(error) : resolve(fields))));
    await asked(setNames ?? 'DO 1');
    if (session !== undefined) expect(await moving.move(session())).toMatchObject({ result: 'moved' });
    const [field] = await asked("SELECT SCHEMA(), 'text'");
    client.destroy();
    return (field as unknown as { characterSet: number }).characterSet;
  };
  const direct = await columnCollation(moving.source.port);
  expect(direct).toEqual(expect.any(Number));
  expect(await columnCollation(moving.port, () => [...moving.relay.sessions.values()].at(-1)!)).toBe(direct);
});
