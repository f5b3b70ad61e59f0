import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Capability } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';
import { startMariadb, type MariadbServer } from '@binnacle/testing/mariadb-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { ComparedCommand } from '../src/traffic/report/report-builder.js';
import { readTarget } from '../src/traffic/replay/replay-target.js';
import { TrafficReplay } from '../src/traffic/replay/traffic-replay.js';
import type { ReplayRecord, TrafficSource } from '../src/traffic/replay/traffic-source.js';
import { targetAt } from './hand-written-capture.js';

let server: MariadbServer;

beforeAll(async () => {
  server = await startMariadb();
  await server.sql(`
    USE test; CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (2); CREATE SEQUENCE s; CREATE DATABASE other;
    SET GLOBAL log_bin_trust_function_creators = 1; CREATE FUNCTION bin_to_uuid(x INT) RETURNS INT DETERMINISTIC RETURN NEXTVAL(s)`);
}, 120_000);

afterAll(() => server?.stop());

type Written = Pick<ReplayRecord, 'command' | 'payload'> & Partial<ReplayRecord>;

/** Without results: as TiProxy's own files are. */
function sourceOf(...written: Written[]): TrafficSource {
  return {
    hasResults: false,
    async *results() {},
    async *records() {
      for (const [index, record] of written.entries()) yield { source: 0, connectionId: 1, timeUs: 1_000_000 + index, ...record };
    },
  };
}

const query = (text: string, more: Partial<ReplayRecord> = {}): Written => ({ command: Command.query, payload: Buffer.from(text, 'latin1'), ...more });
const prepare = (text: string, capturedStatementId: number): Written => ({ command: Command.stmtPrepare, payload: Buffer.from(text), capturedStatementId });
const execute = (capturedStatementId: number, more: Partial<ReplayRecord> = {}): Written => ({ command: Command.stmtExecute, payload: Buffer.from([capturedStatementId, 0, 0, 0, 0, 1, 0, 0, 0]), capturedStatementId, ...more });

async function replayed(source: TrafficSource, readOnly: boolean): Promise<{ outcomes: string[]; reported: ComparedCommand[] }> {
  const target = targetAt(server.port);
  const reported: ComparedCommand[] = [];
  const replay = new TrafficReplay({
    source, target, facts: await readTarget(target), speed: 10, readOnly, signal: new AbortController().signal,
    filters: { users: new Set(), commands: new Set(), digests: new Set() }, report: (command) => reported.push(command),
  });
  await replay.run();
  expect(replay.cutOff).toBe('');
  return { reported, outcomes: reported.map(({ skipped, now }) => skipped ?? (now?.errorCode === 0 ? 'well' : `error ${now?.errorCode}`)) };
}

async function state(): Promise<string> {
  return server.sql('CHECKSUM TABLE test.t; SELECT next_not_cached_value FROM test.s; SHOW DATABASES; SELECT @@global.max_connections, @@global.gtid_binlog_pos; SELECT user, host FROM mysql.global_priv');
}

const harmful = [
  'DELETE FROM test.t', 'SELECT 1; DELETE FROM test.t', '/*! DELETE FROM test.t */', 'SELECT NEXTVAL(test.s)', 'WITH x AS (SELECT 1) DELETE FROM test.t', "SELECT * FROM test.t INTO OUTFILE '/tmp/binnacle-never'", "SELECT GET_LOCK('a', 0)",
  'SET GLOBAL max_connections = 77', 'SELECT test.bin_to_uuid(100)', 'SELECT BIN_TO_UUID(100)', 'EXECUTE IMMEDIATE "DELETE FROM test.t"', 'BEGIN NOT ATOMIC DELETE FROM test.t; END', 'ANALYZE FORMAT=JSON DELETE FROM test.t', 'CREATE USER x', 'SHUTDOWN', 'KILL 1', 'DO SLEEP(100)',
  'SELECT * FROM test.t FOR UPDATE', "SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT '\\'; DELETE FROM test.t -- '",
];

test('nothing of what is harmful is sent, whichever way it comes', async () => {
  const before = await state();
  const texts = await replayed(sourceOf(...harmful.map((text) => query(text))), true);
  expect(texts.outcomes).toEqual(harmful.map(() => 'read-only'));
  const statements = await replayed(sourceOf(...harmful.flatMap((text, index) => [prepare(text, index + 1), execute(index + 1), execute(200 + index, { preparedText: Buffer.from(text) })])), true);
  expect(new Set(statements.outcomes)).toEqual(new Set(['read-only']));
  const empty = Buffer.alloc(4);
  const commands = [Command.createDb, Command.dropDb, Command.refresh, Command.shutdown, Command.processKill, Command.debug, Command.binlogDump, Command.registerSlave, Command.clone, 0x20, 0x77];
  const others = await replayed(sourceOf(...commands.map((command) => ({ command, payload: command === Command.dropDb ? Buffer.from('other') : empty }))), true);
  for (const outcome of others.outcomes) expect(['read-only', 'unsupported']).toContain(outcome);
  expect(await state()).toBe(before);
});

test('a mode that was set decides how later texts are read', async () => {
  const text = "SELECT '\\'; DELETE FROM test.t -- '";
  const { outcomes } = await replayed(sourceOf(query(text), query("SET sql_mode = 'NO_BACKSLASH_ESCAPES'"), query(text), { command: Command.resetConnection, payload: Buffer.alloc(0) }, query(text)), true);
  expect(outcomes).toEqual(['well', 'well', 'read-only', 'well', 'well']);
  const quoted = 'SELECT "a\\"; DELETE FROM test.t -- "';
  const ansi = await replayed(sourceOf(query(quoted), query("SET sql_mode = 'ANSI_QUOTES'"), query(quoted), query('SELECT 1')), true);
  expect(ansi.outcomes).toEqual(['well', 'well', 'read-only', 'well']);
});

test('a mode is seen to be set whichever way it is', async () => {
  const hidden = query('SELECT 1 AS "\\" INTO OUTFILE \'/tmp/binnacle-never\' -- "');
  for (const setting of [
    [prepare("SET sql_mode = 'ANSI_QUOTES'", 1), execute(1)],
    [query("PREPARE p FROM 'SET sql_mode = ANSI_QUOTES'"), query('EXECUTE p')],
    [query("PREPARE p FROM 'SET sql_mode = ANSI_QUOTES'"), query('EXECUTE p'), query('DEALLOCATE PREPARE p')],
  ]) {
    const { outcomes } = await replayed(sourceOf(hidden, ...setting, hidden), true);
    expect([outcomes[0], outcomes.at(-1)]).toEqual(['well', 'read-only']);
  }
});

test('what was refused as a second statement then is not executed now', async () => {
  const before = await state();
  const injected = (capabilities: number): Written => query("SELECT * FROM test.t WHERE a = 'x'; DELETE FROM test.t; -- '", { capabilities });
  expect((await replayed(sourceOf(injected(0)), false)).outcomes).toEqual(['error 1064']);
  expect((await replayed(sourceOf(query('SELECT 1; SELECT 2')), true)).outcomes).toEqual(['read-only']);
  expect(await state()).toBe(before);
});

test('a name executes what was prepared under it last, and nothing else', async () => {
  const { outcomes } = await replayed(sourceOf(
    query("PREPARE p FROM 'SELECT 1'"), query('EXECUTE p'), query("PREPARE p FROM 'DELETE FROM test.t'"), query('EXECUTE p'), query('EXECUTE q'), query("PREPARE q FROM 'nonsense'"), query('EXECUTE q'), query("PREPARE p FROM 'SELECT 2'"), query('EXECUTE P'),
  ), true);
  expect(outcomes).toEqual(['well', 'well', 'read-only', 'read-only', 'read-only', 'read-only', 'read-only', 'well', 'well']);
});

test('where a byte may be half a character, no text is sent', async () => {
  const gbk = 28;
  const { outcomes } = await replayed(sourceOf(query("SELECT '\u{bf}\\'; DELETE FROM test.t -- '", { collation: gbk }), prepare('SELECT 1', 1), execute(1), query('SELECT 1')), true);
  expect(outcomes).toEqual(['read-only', 'read-only', 'read-only', 'read-only']);
});

test('sessions are read-only for the server too, also behind a reset', async () => {
  const ask = query('SELECT 1 FROM (SELECT @@tx_read_only AS r) d WHERE r = 1');
  const { reported } = await replayed(sourceOf(ask, { command: Command.resetConnection, payload: Buffer.alloc(0) }, ask), true);
  expect(reported.map(({ now }) => now?.rows)).toEqual([1, 0, 1]);
});

test('what a client had agreed upon holds again: found rows, not changed rows', async () => {
  const update = (capabilities: number): Written => query('UPDATE test.t SET a = a WHERE a = 1', { capabilities });
  expect((await replayed(sourceOf(update(0)), false)).reported[0]!.now!.affectedRows).toBe(0);
  expect((await replayed(sourceOf(update(Capability.foundRows)), false)).reported[0]!.now!.affectedRows).toBe(1);
});

test('KILL means the connection that stands for the captured one, and never a stranger', async () => {
  const first = [query('SELECT 1', { connectionId: 2_147_483_700 }), query('SELECT 1', { connectionId: 5 })];
  const then = [query('KILL 2147483700', { connectionId: 5 }), ...['KILL 4', 'SELECT 1; KILL 2147483700', "PREPARE k FROM 'KILL 4'"].map((text) => query(text, { connectionId: 5 })),
    { ...prepare('KILL 2147483700', 1), connectionId: 5 }, { ...execute(1), connectionId: 5 }, { ...prepare('KILL ?', 2), connectionId: 5 },
    ...['SHUTDOWN', '/* app:x */ SHUTDOWN', 'SELECT 1; SHUTDOWN', '/*! SHUTDOWN */', 'EXECUTE IMMEDIATE "SHUTDOWN"'].map((text) => query(text, { connectionId: 5 }))];
  const source: TrafficSource = {
    ...sourceOf(),
    async *records() {
      yield* sourceOf(...first).records();
      await waitUntil(async () => (await server.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE command = 'Sleep' AND host LIKE '127%'")).trim() === '2', { what: 'both connections are there' });
      yield* sourceOf(...then).records();
    },
  };
  const { outcomes } = await replayed(source, false);
  expect(outcomes.slice(2)).toEqual(['well', ...Array<string>(6).fill('kill'), ...Array<string>(5).fill('unsupported')]);
});

test('a command under way when its connection is lost has failed, and is not left out', async () => {
  const source: TrafficSource = {
    ...sourceOf(),
    async *records() {
      yield* sourceOf(query('SELECT SLEEP(100)')).records();
      const sleeping = "SELECT CONCAT('KILL ', id) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(100)'";
      await waitUntil(async () => (await server.sql(sleeping)) !== '', { what: 'it runs' });
      await server.sql(await server.sql(sleeping));
    },
  };
  expect((await replayed(source, false)).outcomes).toEqual([expect.stringMatching(/^error (?:2013|1317|1927)$/)]);
});
