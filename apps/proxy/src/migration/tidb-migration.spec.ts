import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Capability } from '@binnacle/mysql-wire/capabilities';
import { startScriptedTidb, type ScriptedTidb } from '@binnacle/testing/scripted-tidb';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { backendAt, RelayedSessions } from '../../test/relayed-sessions.js';
import { dialBackend } from '../connection/backend-connection.js';
import type { Session } from '../session/session.js';
import { armTrackers } from './arm-trackers.js';
import { migrate, type MigrationDeps, type MoveResult } from './migrate.js';
import { StoredCodeSurveys } from './stored-code.js';

const timeoutMs = 4_000;
let from: ScriptedTidb;
let to: ScriptedTidb;
let relay: RelayedSessions;
let port: number;

beforeAll(async () => {
  [from, to] = await Promise.all([startScriptedTidb(), startScriptedTidb()]);
  relay = new RelayedSessions(from.port, { tracked: true, adds: Capability.deprecateEof, arm: (session) => armTrackers(session.backend, session.state, timeoutMs) });
  port = await relay.listen();
});

afterAll(async () => {
  await relay.close();
  await Promise.all([from.stop(), to.stop()]);
});

const deps: MigrationDeps = {
  dial: ({ client }, backend, { credential, database }, dialMs) =>
    dialBackend(backend, { user: client.user, collation: client.collation, attributes: undefined, capabilities: client.capabilities, database, credential, tls: { mode: 'off', verify: false } }, dialMs),
  mayMove: () => true,
  timeouts: { dialMs: timeoutMs, holdMs: 300, answerMs: timeoutMs, causalityMs: timeoutMs },
  surveys: new StoredCodeSurveys(() => performance.now()),
  trustStoredCode: false,
};

async function proxied(): Promise<{ client: Connection; session: Session; move(target?: ScriptedTidb): Promise<MoveResult> }> {
  const client = await createConnection({ host: '127.0.0.1', port, user: 'root', password: 'root' });
  const session = [...relay.sessions.values()].at(-1)!;
  session.credential = undefined;
  return { client, session, move: (target = to) => migrate(session, backendAt(target.port), deps) };
}

test('TiDB writes the session down, the token logs in, and what was written is read in to the byte', async () => {
  const { client, session, move } = await proxied();
  await client.query('USE shop');
  const text = "it's \\ \"ü\" \n \u2028";
  await client.query(`SET @a = '${text.replaceAll('\\', '\\\\').replaceAll("'", "''").replaceAll('\n', '\\n')}'`);
  expect((await client.execute("SELECT 'prepared'"))[0]).toEqual([{ text: "SELECT 'prepared'" }]);
  expect(await move()).toMatchObject({ result: 'moved', why: [] });
  expect(session.backend.backend.port).toBe(to.port);
  expect((await client.execute("SELECT 'prepared'"))[0]).toEqual([{ text: "SELECT 'prepared'" }]);
  expect((await client.execute("SELECT 'another'"))[0]).toEqual([{ text: "SELECT 'another'" }]);
  expect((await client.query<RowDataPacket[]>('SELECT @a'))[0]).toEqual([{ '@a': text }]);
  expect((await client.query<RowDataPacket[]>('SELECT DATABASE()'))[0]).toEqual([{ 'database()': 'shop' }]);
  expect(to.logins.at(-1)).toMatchObject({ user: 'root', plugin: 'tidb_session_token' });
  expect(from.queries.at(-1)).toBe('SHOW SESSION_STATES');
  // And back, with the ids of both servers in the session's hands.
  expect(await move(from)).toMatchObject({ result: 'moved' });
  expect((await client.execute("SELECT 'prepared'"))[0]).toEqual([{ text: "SELECT 'prepared'" }]);
  expect((await client.execute("SELECT 'another'"))[0]).toEqual([{ text: "SELECT 'another'" }]);
  client.destroy();
});

test('what TiDB refuses to write down stays, and TiDB says why', async () => {
  const { client, session, move } = await proxied();
  await client.query('CREATE TEMPORARY TABLE t (a INT)');
  expect(await move()).toMatchObject({ result: 'refused', why: [{ code: 'states', text: expect.stringContaining('temporary tables') }] });
  await client.query('DROP TEMPORARY TABLE t');
  await client.query('BEGIN');
  expect(await move()).toMatchObject({ result: 'refused', why: [{ code: 'transaction' }] });
  await client.query('COMMIT');
  to.refuseStates = 'another version';
  expect(await move()).toMatchObject({ why: [{ code: 'states', text: expect.stringContaining('another version') }] });
  to.refuseStates = undefined;
  expect(session.backend.backend.port).toBe(from.port);
  expect((await client.query<RowDataPacket[]>('SELECT CONNECTION_ID()'))[0]).toHaveLength(1);
  client.destroy();
});

test('without a signing certificate, or with another one, a session stays and works', async () => {
  const stranger = await startScriptedTidb({ signingSecret: 'another certificate' });
  const { client, move } = await proxied();
  expect(await move(stranger)).toMatchObject({ result: 'failed', why: [{ code: 'login', text: expect.stringContaining('1045') }] });
  expect((await client.query<RowDataPacket[]>('SELECT DATABASE()'))[0]).toHaveLength(1);
  const bare = await startScriptedTidb({ signingSecret: undefined });
  const relayed = new RelayedSessions(bare.port, { tracked: true });
  const other = await createConnection({ host: '127.0.0.1', port: await relayed.listen(), user: 'root', password: 'root' });
  expect(await migrate([...relayed.sessions.values()][0]!, backendAt(to.port), deps)).toMatchObject({ why: [{ code: 'login', text: expect.stringContaining('session-token-signing-cert') }] });
  expect((await other.query<RowDataPacket[]>('SELECT DATABASE()'))[0]).toHaveLength(1);
  for (const each of [client, other]) each.destroy();
  await relayed.close();
  await Promise.all([stranger.stop(), bare.stop()]);
});
