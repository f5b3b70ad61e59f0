import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Command } from '@binnacle/mysql-wire/command';
import { waitUntil } from '@binnacle/testing/wait-until';
import { answers, execute, MovingSessions, prepare, timeoutMs } from '../../test/moving-sessions.js';
import { backendAt } from '../../test/relayed-sessions.js';
import type { BackendConnection } from '../connection/backend-connection.js';
import type { Session } from '../session/session.js';
import { reconnect, type Reconnection } from './reconnect.js';

let moving: MovingSessions;
const outcomes = new Map<number, Reconnection>();

beforeAll(async () => {
  moving = await MovingSessions.start();
  moving.recover = async (session, { errorCode }) => {
    const outcome = await reconnect(session, errorCode, {
      ...moving.deps,
      targets: () => [backendAt(moving.target.port)],
      greets: () => Promise.resolve(greets),
    });
    outcomes.set(session.id, outcome);
    return outcome.result === 'reconnected';
  };
}, 120_000);

afterAll(() => moving.stop());

let greets = false;

interface Case {
  readonly client: BackendConnection;
  readonly session: Session;
}

async function session(...texts: string[]): Promise<Case> {
  const one = await moving.proxied();
  for (const text of texts) await one.client.query(text, timeoutMs).catch(() => undefined);
  return one;
}

test('a server that ends one connection and lives has its reasons', async () => {
  greets = true;
  const { session: killed } = await session('SELECT 1');
  await moving.source.sql(`KILL ${killed.backend.threadId}`);
  await waitUntil(() => outcomes.has(killed.id), { what: 'the session has found out', timeoutMs });
  expect(outcomes.get(killed.id)).toMatchObject({ result: 'unmovable', why: [{ code: 'lost' }] });
  greets = false;
});

test('when a server dies, sessions of which everything is known go on elsewhere, and the others end and are told why', async () => {
  await moving.emptied();
  const plain = await session("SET NAMES latin1 COLLATE latin1_german2_ci, SESSION sql_mode='ANSI_QUOTES'", 'SET NAMES latin1 COLLATE latin1_german2_ci', "SET time_zone='+02:00', autocommit=0, long_query_time=1.5", 'USE other');
  const statement = await prepare(plain.client, 'INSERT INTO test.t (b) VALUES (?)');
  const inserting = await session("INSERT INTO test.t (b) VALUES ('written')");
  await moving.source.sql('FLUSH LOGS');
  const staying: [string, Case][] = [
    ['transaction', await session('BEGIN', 'SELECT * FROM test.t')],
    ['advisory-lock', await session("SELECT GET_LOCK('one', 0)", "SELECT GET_LOCK('two', 0)", "SELECT RELEASE_LOCK('one')")],
    ['lost', await session('SET @a = 1')],
    ['lost', await session('SELECT @a := 1')],
    ['lost', await session('SET ROLE auditor')],
    ['lost', await session("SET collation_connection='utf8mb4_bin'")],
    ['transaction', await session('SELECT * FROM test.nothing')],
    ['temporary-table', await session('CREATE TEMPORARY TABLE test.tmp (a INT)')],
  ];
  await moving.source.kill9();
  await waitUntil(() => outcomes.size >= staying.length + 3, { what: 'every session has found out', timeoutMs: 20_000 });
  for (const [code, { session: lost }] of staying) expect([code, outcomes.get(lost.id)]).toEqual([code, { result: 'unmovable', why: [expect.objectContaining({ code })] }]);
  for (const { session: kept } of [plain, inserting]) expect(outcomes.get(kept.id)).toEqual({ result: 'reconnected', why: [] });
  expect(await answers(plain.client, ['SELECT @@sql_mode, @@collation_connection, @@time_zone, @@autocommit, @@log_slow_query_time, DATABASE()'])).toMatchObject([[expect.anything(), [['ANSI_QUOTES', 'latin1_german2_ci', '+02:00', '0', '1.500000', 'other']]]]);
  await execute(plain.client, statement, Buffer.from([0xfd, 0]), Buffer.from('\x05later'));
  await plain.client.query('COMMIT', timeoutMs);
  await expect(inserting.client.query('SELECT LAST_INSERT_ID()', timeoutMs)).rejects.toMatchObject({ code: 1105 });
  await inserting.client.query("INSERT INTO test.t (b) VALUES ('again')", timeoutMs);
  expect(await answers(inserting.client, ['SELECT LAST_INSERT_ID() > 0', 'SELECT b FROM test.t ORDER BY a'])).toMatchObject([[expect.anything(), [['1']]], [['b'], [['written'], ['later'], ['again']]]]);
  await inserting.client.command(Buffer.from([Command.ping]), timeoutMs);
  for (const { client } of [plain, inserting]) client.close();
});
