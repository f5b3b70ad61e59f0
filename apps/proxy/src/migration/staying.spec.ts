import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { Command } from '@binnacle/mysql-wire/command';
import { framePayload } from '@binnacle/mysql-wire/packet-header';
import { waitUntil } from '@binnacle/testing/wait-until';
import { answers, connect, execute, executePayload, MovingSessions, prepare, timeoutMs, u32 } from '../../test/moving-sessions.js';
import type { BackendConnection } from '../connection/backend-connection.js';
import type { Session } from '../session/session.js';
import type { MigrationDeps } from './migrate.js';
import { moveBlockers, type MoveBlockerCode } from './move-blocker.js';
import { StoredCodeSurveys, surveyStoredCode, unseenSchema } from './stored-code.js';

let moving: MovingSessions;

beforeAll(async () => {
  moving = await MovingSessions.start();
}, 120_000);

afterAll(() => moving.stop());

/** What has to be done so that the session stays for this reason. */
const staying: [MoveBlockerCode, readonly string[]][] = [
  ['transaction', ['BEGIN', 'SELECT 1']],
  ['transaction', ['SET autocommit=0', 'SELECT * FROM test.t']],
  ['transaction', ['BEGIN', "INSERT INTO test.t VALUES (1, 'a')", 'SELECT * FROM test.nothing']],
  ['xa', ["XA START 'one'", "XA END 'one'", "XA PREPARE 'one'"]],
  ['pending-transaction', ['SET TRANSACTION ISOLATION LEVEL SERIALIZABLE']],
  ['table-lock', ['LOCK TABLES test.t READ']],
  ['global-lock', ['FLUSH TABLES WITH READ LOCK']],
  ['global-lock', ['BACKUP STAGE START', 'UNLOCK TABLES']],
  ['advisory-lock', ["SELECT GET_LOCK('held', 0)"]],
  ['advisory-lock', ["SELECT GET_LOCK('held', 0), GET_LOCK('more', 0)", "SELECT RELEASE_LOCK('held')"]],
  ['advisory-lock', ["SELECT GET_LOCK('held', 0)", "SELECT GET_LOCK('held', 0)", "SELECT RELEASE_LOCK('held')"]],
  ['advisory-lock', ["SET @a = GET_LOCK(CONCAT('he', 'ld'), 0)", "SELECT RELEASE_LOCK('other')"]],
  ['advisory-lock', ['SET max_statement_time=0.2', "SELECT GET_LOCK('held', 0), SLEEP(9)", 'SELECT 1 FROM test.t LIMIT 0']],
  ['advisory-lock', ["SELECT GET_LOCK(n, 0), CASE WHEN n = 'b' THEN (SELECT 1 UNION SELECT 2) END FROM (SELECT 'a' AS n UNION ALL SELECT 'b') AS t", 'SELECT 1 FROM test.t LIMIT 0']],
  ['temporary-table', ['CREATE TEMPORARY TABLE test.tmp (a INT)']],
  ['temporary-table', ['CREATE TEMPORARY TABLE test.tmp (a INT)', 'ALTER TABLE test.tmp RENAME TO test.other', 'CREATE TEMPORARY TABLE test.tmp (a INT)', 'DROP TEMPORARY TABLE test.tmp']],
  ['handler', ['HANDLER test.t OPEN']],
  ['text-prepare', ["PREPARE s FROM 'SELECT 1'"]],
  ['sequence', ['SELECT NEXTVAL(test.s)']],
  ['unreplayable-variable', ['SET timestamp=5', 'SET timestamp=DEFAULT']],
  ['unreplayable-variable', ['SET insert_id=5']],
  ['unreplayable-variable', ['SET rand_seed1=5']],
  ['unreplayable-variable', ['SET `timestamp`=1000']],
  ['unreplayable-variable', ['SET @@session.`insert_id`=500']],
  ['procedure', ['CALL test.p()']],
  ['function', ['SELECT test.f()']],
  ['not-understood', ["SET STATEMENT max_statement_time=1 FOR SELECT GET_LOCK('x', 0)"]],
  ['not-understood', ["BEGIN NOT ATOMIC SELECT 1; END"]],
  ['not-read', [`SELECT '${'x'.repeat(70_000)}'`]],
  ['unsafe-charset', ['SET NAMES gbk']],
  ['unsafe-charset', ['SET character_set_results=utf16']],
  ['not-read', ['SET NAMES gbk', 'SELECT 1', 'SET NAMES utf8mb4']],
  ['not-tracked', ["SET session_track_system_variables='autocommit'"]],
  ['not-tracked', ["SET session_track_state_change=0", 'SET session_track_state_change=1']],
  ['history', ['SET profiling=1']],
  ['history', ['SET sql_auto_is_null=1']],
  ['diagnostics', ['SELECT 1/0']],
  ['diagnostics', ['SELECT * FROM test.nothing']],
  ['diagnostics', ["INSERT INTO test.t VALUES (1, 'a'), (2, 'b')"]],
];

test.each(staying.map(([code, texts]) => [code, texts.join('; ').slice(0, 100), texts] as const))('a session stays because of %s: %s', async (code, _shown, texts) => {
  await moving.emptied();
  const { client, session } = await moving.proxied();
  const before = await client.query('SELECT CONNECTION_ID()', timeoutMs);
  await answers(client, texts);
  const { result, why } = await moving.move(session);
  expect([result, why.map((reason) => reason.code)]).toEqual(['refused', expect.arrayContaining([code])]);
  expect(why[0]!.text.startsWith(moveBlockers[code]) || why.length > 1).toBe(true);
  expect(session.backend.backend.port).toBe(moving.source.port);
  // A lock of all tables would not let the next test write.
  if (code === 'xa') await client.query("XA ROLLBACK 'one'", timeoutMs);
  else if (!['unsafe-charset', 'not-read'].includes(code)) expect((await client.query('SELECT CONNECTION_ID()', timeoutMs)).rows).toEqual(before.rows);
  const { threadId } = session.backend;
  client.close();
  await waitUntil(async () => !(await moving.source.sql('SHOW PROCESSLIST')).includes(`\n${threadId}\t`), { what: 'the connection ended', timeoutMs, intervalMs: 20 });
});

/** As `staying`, for what cannot be said in statements alone. */
const stayingOtherwise: [MoveBlockerCode, (client: BackendConnection, session: Session) => Promise<unknown>, Partial<MigrationDeps>?][] = [
  ['cursor', async (client) => client.command(executePayload(await prepare(client, 'SELECT 1 UNION ALL SELECT 2'), undefined, Buffer.alloc(0), 0, 1), timeoutMs)],
  ['long-data', async (client, session) => {
    const id = await prepare(client, 'SET @a = ?');
    client.channel.write(framePayload(Buffer.concat([Buffer.from([Command.stmtSendLongData]), u32(id), Buffer.from('\0\0long')]), 0));
    await waitUntil(() => session.state.prepared.longData === 1, { what: 'the data passed', timeoutMs });
  }],
  ['replication', (client) => client.command(Buffer.from([Command.registerSlave]), timeoutMs).catch(() => undefined)],
  ['not-understood', (client) => client.command(Buffer.from([0x7f]), timeoutMs).catch(() => undefined)],
  ['statements', async (client) => {
    for (let count = 0; count < 18; count++) await prepare(client, `DO '${'x'.repeat(60_000)}'`);
  }],
  ['statements', async (client) => {
    await prepare(client, "DO 'x'");
    await client.query('SET NAMES latin1', timeoutMs);
  }],
  ['parameter-types', async (client) => {
    const count = 2_100;
    const id = await prepare(client, `DO COALESCE(${Array.from({ length: count }, () => '?').join(',')})`);
    const head = executePayload(id, undefined, Buffer.alloc(0), 0);
    await client.command(Buffer.concat([head, Buffer.alloc((count + 7) >> 3, 0xff), Buffer.from([1]), Buffer.alloc(2 * count, Buffer.from([3, 0]))]), timeoutMs);
  }],
  ['user-variables', (client) => client.query(`SET ${Array.from({ length: 1_001 }, (_, index) => `@v${index}=1`).join(', ')}`, timeoutMs)],
  ['user-variables', (client) => client.query('SET @a = POINT(1, 2)', timeoutMs)],
  ['credential', async (_client, session) => {
    session.credential = undefined;
  }],
  ['unknown-change', async (client, { state }) => {
    await client.query('DO 0', timeoutMs);
    // As MySQL does where a trigger sets a user variable; MariaDB is silent then, and asked for them all anyway.
    state.onOk({ header: 0, affectedRows: 0n, lastInsertId: 0n, statusFlags: 2, warnings: 0, info: Buffer.alloc(0), changes: [{ kind: 'state', changed: true }] });
    await client.query('DO 1', timeoutMs);
  }],
  ['advisory-lock', async (client) => {
    const id = await prepare(client, 'DO GET_LOCK(?, 0)');
    await execute(client, id, Buffer.from([0xfd, 0]), Buffer.from('\x04bind'));
  }],
  ['transaction', async (client) => client.command(executePayload(await prepare(client, 'START TRANSACTION'), undefined, Buffer.alloc(0), 0), timeoutMs)],
];

test.each(stayingOtherwise)('a session stays because of %s, which no statement says', async (code, act) => {
  await moving.emptied();
  const { client, session } = await moving.proxied();
  await act(client, session);
  const { result, why } = await moving.move(session);
  expect([result, why.map((reason) => reason.code)]).toEqual(['refused', expect.arrayContaining([code])]);
  expect(session.backend.backend.port).toBe(moving.source.port);
  client.close();
});

test('a session stays while a statement runs', async () => {
  const { client, session } = await moving.proxied();
  const answer = client.query('SELECT SLEEP(1)', timeoutMs);
  await waitUntil(() => session.phase === 'busy', { what: 'the statement runs', timeoutMs });
  expect(await moving.move(session)).toMatchObject({ result: 'refused', why: [{ code: 'busy' }] });
  expect((await answer).rows).toHaveLength(1);
  client.close();
});

test('a session that used tables stays where triggers, views or defaults may take locks, or cannot be seen', async () => {
  const { source, target } = moving;
  await source.sql("CREATE USER blind@'127.0.0.1' IDENTIFIED BY 'blind'; GRANT SELECT, INSERT ON test.* TO blind@'127.0.0.1'");
  const { client, session } = await moving.proxied();
  await client.query('SELECT * FROM test.t', timeoutMs);
  const surveys = (): Partial<MigrationDeps> => ({ surveys: new StoredCodeSurveys(() => performance.now()) });
  await source.sql("CREATE VIEW test.locking AS SELECT GET_LOCK('view', 0) AS got");
  await waitUntil(async () => (await target.sql('SHOW TABLES FROM test')).includes('locking'), { what: 'the view is there', timeoutMs });
  expect(await moving.move(session, surveys())).toMatchObject({ result: 'refused', why: [{ code: 'stored-code', text: expect.stringContaining('view test.locking') }] });
  const trusted = await moving.proxied();
  await trusted.client.query('SELECT * FROM test.t', timeoutMs);
  expect(await moving.move(trusted.session, { ...surveys(), trustStoredCode: true })).toMatchObject({ result: 'moved' });
  await source.sql('DROP VIEW test.locking');
  await source.sql("CREATE FUNCTION test.locks() RETURNS INT DETERMINISTIC RETURN GET_LOCK('function', 0); CREATE TRIGGER test.locking BEFORE INSERT ON test.t FOR EACH ROW SET NEW.b = test.locks()");
  await waitUntil(async () => (await target.sql('SHOW TRIGGERS FROM test')).includes('locking'), { what: 'the trigger is there', timeoutMs });
  expect(await moving.move(session, surveys())).toMatchObject({ result: 'refused', why: [{ code: 'stored-code', text: expect.stringContaining('routine test.locks') }] });
  await source.sql('DROP TRIGGER test.locking; DROP FUNCTION test.locks');
  await waitUntil(async () => !(await target.sql('SHOW TRIGGERS FROM test')).includes('locking'), { what: 'the trigger is gone', timeoutMs });
  await waitUntil(async () => !(await target.sql('SHOW TABLES FROM test')).includes('locking'), { what: 'the view is gone', timeoutMs });
  const asBlind: MigrationDeps['dial'] = async (_session, backend) => connect(backend.port, 'blind');
  expect(await moving.move(session, { ...surveys(), dial: asBlind })).toMatchObject({ result: 'refused', why: [{ code: 'stored-code', text: expect.stringContaining('TRIGGER, SHOW VIEW and EXECUTE on test') }] });
  const others = await connect(moving.port, 'blind');
  const ofOthers = [...moving.relay.sessions.values()].at(-1)!;
  ofOthers.credential = { kind: 'password', password: 'blind' };
  Object.assign(ofOthers.client, { user: 'blind' });
  await others.query('SELECT * FROM test.t', timeoutMs);
  const asHealthUser = new StoredCodeSurveys(() => performance.now());
  expect(await moving.move(ofOthers, { ...surveys(), storedCode: (backend) => asHealthUser.ofHealthUser(backend.group, () => connect(backend.port), timeoutMs) })).toMatchObject({ result: 'moved' });
  expect(await moving.move(session, surveys())).toMatchObject({ result: 'moved' });
  for (const each of [client, others, trusted.client]) each.close();
});

test('stored code that uses what the account cannot see is not known', async () => {
  const { source, target } = moving;
  await source.sql("CREATE DATABASE hidden; CREATE FUNCTION hidden.locks() RETURNS INT DETERMINISTIC RETURN GET_LOCK('hidden', 0); CREATE USER some@'127.0.0.1' IDENTIFIED BY 'some'; GRANT SELECT, INSERT, TRIGGER, SHOW VIEW, EXECUTE ON test.* TO some@'127.0.0.1'");
  await source.sql('CREATE VIEW test.risky AS SELECT hidden.locks() AS got, t.a FROM test.t AS t');
  await waitUntil(async () => (await target.sql('SHOW TABLES FROM test')).includes('risky'), { what: 'it is there', timeoutMs });
  const client = await connect(target.port, 'some');
  expect(await surveyStoredCode(client, timeoutMs)).toEqual({ kind: 'unknown', missing: expect.stringContaining('hidden') });
  await source.sql('DROP DATABASE hidden; CREATE OR REPLACE VIEW test.risky AS SELECT t.a FROM test.t AS t');
  await waitUntil(async () => !(await target.sql('SELECT VIEW_DEFINITION FROM information_schema.VIEWS')).includes('hidden'), { what: 'it is another one', timeoutMs });
  expect(await surveyStoredCode(client, timeoutMs)).toEqual({ kind: 'harmless' });
  await source.sql('DROP VIEW test.risky');
  await waitUntil(async () => !(await target.sql('SHOW TABLES FROM test')).includes('risky'), { what: 'it is gone', timeoutMs });
  client.close();
});

test('names of schemas are told from those of tables, aliases and variables', () => {
  const seen = new Set(['test']);
  for (const text of ['SET NEW.a = OLD.b + 1.5', 'select `test`.`t`.`a` AS `a` from `test`.`t`', "INSERT INTO test.log SELECT o.a, 'www.some.where' FROM orders AS o -- e.g.\n", 'SET @@session.sql_mode = @a.b']) {
    expect([text, unseenSchema(text, seen)]).toEqual([text, undefined]);
  }
  for (const text of ['CALL other.p(NEW.a)', 'select `other`.`f`() AS `a`', 'SET NEW.a = /*!50000 other . f() */', 'INSERT INTO "other"."t" VALUES (1)']) expect([text, unseenSchema(text, seen)]).toEqual([text, 'other']);
});

test.each([
  ['trigger test.risky', 'CREATE TRIGGER test.risky BEFORE INSERT ON test.t FOR EACH ROW CREATE /* none */ TEMPORARY TABLE IF NOT EXISTS test.tmp (a INT)'],
  ['trigger test.risky', 'CREATE TRIGGER test.risky BEFORE INSERT ON test.t FOR EACH ROW SET @@session.`timestamp` = 2000'],
  ['trigger test.risky', "CREATE TRIGGER test.risky BEFORE INSERT ON test.t FOR EACH ROW SET NEW.b = '', insert_id /* none */ = 5"],
  ['routine test.makes', 'CREATE FUNCTION test.makes() RETURNS INT DETERMINISTIC BEGIN CREATE TEMPORARY TABLE IF NOT EXISTS test.tmp (a INT); RETURN 1; END; CREATE VIEW test.risky AS SELECT test.makes() AS made'],
  [undefined, 'CREATE TRIGGER test.risky BEFORE INSERT ON test.t FOR EACH ROW BEGIN DECLARE made_timestamp INT; SET made_timestamp = 1, NEW.b = (SELECT temporary_id FROM (SELECT 1 AS temporary_id) AS t); END'],
])('what stored code may do without a report keeps a session: %s: %s', async (name, text) => {
  const { source, target } = moving;
  await source.sql(`DELIMITER //\n${text.replace('; CREATE VIEW', '//\nCREATE VIEW')}//`);
  const { client, session } = await moving.proxied();
  await client.query('SELECT * FROM test.t', timeoutMs);
  const shown = 'SHOW TABLES FROM test; SHOW TRIGGERS FROM test';
  await waitUntil(async () => (await target.sql(shown)).includes('risky'), { what: 'it is there', timeoutMs });
  const moved = await moving.move(session, { surveys: new StoredCodeSurveys(() => performance.now()) });
  expect(moved).toMatchObject(name === undefined ? { result: 'moved', why: [] } : { result: 'refused', why: [{ code: 'stored-code', text: expect.stringContaining(name) }] });
  client.close();
  await source.sql('DROP VIEW IF EXISTS test.risky; DROP TRIGGER IF EXISTS test.risky; DROP FUNCTION IF EXISTS test.makes');
  await waitUntil(async () => !(await target.sql(shown)).includes('risky'), { what: 'it is gone', timeoutMs });
});

test('every reason of the table was seen to keep a session', () => {
  const seen = new Set<string>([...staying, ...stayingOtherwise].map(([code]) => code).concat(['busy', 'stored-code']));
  expect(Object.keys(moveBlockers).filter((code) => !seen.has(code))).toEqual([]);
});

test('a session whose last statement left warnings moves after a while, and who asks for them then is told that they are gone', async () => {
  const { client, session } = await moving.proxied();
  await client.query("INSERT INTO test.t (b) VALUES ('a'), ('b')", timeoutMs);
  const now = Date.now;
  const clock = jest.spyOn(Date, 'now').mockImplementation(() => now() + 11_000);
  expect(await moving.move(session)).toMatchObject({ result: 'moved' });
  clock.mockRestore();
  await expect(client.query('SELECT ROW_COUNT()', timeoutMs)).rejects.toMatchObject({ code: 1105, message: expect.stringContaining('moved') });
  expect(await answers(client, ['SELECT 1', 'SELECT ROW_COUNT()'])).toEqual([[['1'], [['1']]], [['ROW_COUNT()'], [['-1']]]]);
  client.close();
});

test('a move that fails leaves what the last statement left', async () => {
  const { client, session } = await moving.proxied();
  await client.query('SELECT 1 UNION ALL SELECT 2', timeoutMs);
  await client.query('DO 1', timeoutMs);
  const dial: MigrationDeps['dial'] = async (moved, backend, login, dialMs) => {
    const connection = await moving.deps.dial(moved, backend, login, dialMs);
    // What is built there will not be equal.
    await connection.query("SET SESSION sql_log_bin=0, @@session.max_allowed_packet=DEFAULT", dialMs).catch(() => undefined);
    await connection.query('SET @left_over = 1', dialMs);
    return connection;
  };
  expect(await moving.move(session, { dial })).toMatchObject({ result: 'failed', why: [{ code: 'not-equal' }] });
  expect(await answers(client, ['SELECT FOUND_ROWS(), ROW_COUNT()'])).toEqual([[['FOUND_ROWS()', 'ROW_COUNT()'], [['2', '0']]]]);
  client.close();
});
