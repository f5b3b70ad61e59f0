import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Capability } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';
import { type MariadbServer, startMariadb } from '@binnacle/testing/mariadb-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { Captured, type CapturedConnection, shown } from './captured.js';
import { commandText } from '../src/traffic/files/record.js';
import { mysqlCli, ProxyNode } from './proxy-node.js';
import { WireClient } from './wire-client.js';

let server: MariadbServer;
let node: ProxyNode;
let captured: Captured;
const clients: { close(): unknown }[] = [];

beforeAll(async () => {
  server = await startMariadb();
  await server.sql("CREATE TABLE test.t (id INT PRIMARY KEY, v VARCHAR(100)); INSERT INTO test.t VALUES (1, 'one'), (2, 'two'), (3, NULL); GRANT ALL ON test.* TO other@'127.0.0.1' IDENTIFIED BY 'others-word'");
  node = await ProxyNode.start({ proxy: { backends: [`127.0.0.1:${server.port}`], keepCredentials: true } });
  await node.healthy(1);
}, 90_000);

afterAll(async () => {
  await node?.stop();
  await server?.stop();
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  // Its node may have ended before it.
  await captured?.stop().catch(() => {});
  captured?.remove();
});

const wanted = Capability.deprecateEof | Capability.multiStatements | Capability.multiResults | Capability.psMultiResults;

async function login(capabilities = wanted): Promise<WireClient> {
  const client = await WireClient.login({ port: node.port, user: 'root', password: 'root', database: 'test', capabilities });
  clients.push(client);
  return client;
}

async function begin(): Promise<Captured> {
  captured = new Captured(node);
  await captured.start();
  return captured;
}

/** Of the only connection. */
async function ended(sessionsLeft = 0): Promise<CapturedConnection> {
  await waitUntil(async () => (await node.sessions()).length === sessionsLeft, { what: 'its sessions have ended' });
  const progress = await captured.stop();
  expect([progress.state, progress.error]).toEqual(['done', '']);
  const connections = await captured.read();
  expect(connections).toHaveLength(1);
  return connections[0]!;
}

/** Gives the id. */
async function prepare(client: WireClient, text: string): Promise<number> {
  const [first] = await client.send(Command.stmtPrepare, text);
  expect(first![0]).toBe(0);
  return first!.readUInt32LE(1);
}

const u32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer);
const execute = (id: number, flags: number, rest: string): Buffer => Buffer.concat([u32(id), Buffer.from([flags]), u32(1), Buffer.from(rest, 'hex')]);

test('every command is in the files as it was sent, with what came of it', async () => {
  await begin();
  for (const capabilities of [wanted, wanted & ~Capability.deprecateEof]) {
    const client = await login(capabilities);
    await client.send(Command.query, 'SELECT * FROM t ORDER BY id');
    await client.send(Command.query, "SELECT 1; UPDATE t SET v = 'neu' WHERE id = 1; UPDATE t SET v = 'one' WHERE id < 2; SELECT * FROM t WHERE id > 1");
    await client.send(Command.query, 'SELECT * FROM missing');
    await client.send(Command.ping);
    await client.send(Command.statistics);
    await client.send(Command.initDb, 'test');
    await client.send(Command.fieldList, 't\0');
    await client.send(Command.setOption, Buffer.from([0, 0]));
    await client.send(Command.stmtPrepare, 'SELECT v FROM t WHERE id >= ? ORDER BY id');
    await client.send(Command.stmtExecute, execute(1, 0, '000103000200' + '0000'));
    await client.send(Command.stmtExecute, execute(1, 1, '000003000000'.slice(0, 4) + '01000000'));
    await client.send(Command.stmtFetch, Buffer.concat([u32(1), u32(2)]));
    await client.send(Command.stmtReset, u32(1));
    await client.send(Command.stmtPrepare, 'SELECT LENGTH(?)');
    await client.send(Command.stmtSendLongData, Buffer.concat([u32(2), Buffer.from([0, 0]), Buffer.from('long data')]));
    await client.send(Command.stmtExecute, execute(2, 0, '0001fd00'));
    await client.send(Command.stmtClose, u32(2));
    await client.send(Command.stmtPrepare, 'SELECT nothing FROM missing');
    await client.send(Command.query, 'BEGIN');
    await client.send(Command.query, 'INSERT INTO t VALUES (9, REPEAT("x", 90))');
    await client.send(Command.query, 'ROLLBACK');
    await client.send(Command.resetConnection);
    await client.send(Command.quit);
    client.close();
  }
  await waitUntil(async () => (await node.sessions()).length === 0, { what: 'its sessions have ended' });
  expect(await captured.stop()).toMatchObject({ state: 'done', sessions: 2, leftOut: {}, incomplete: {}, waiting: 0 });
  const [one, other] = await captured.read();
  expect(one!.records.map(shown)).toEqual([
    'InitDB test',
    'Query SELECT * FROM t ORDER BY id',
    "Query SELECT 1; UPDATE t SET v = 'neu' WHERE id = 1; UPDATE t SET v = 'one' WHERE id < 2; SELECT * FROM t WHERE id > 1",
    'Query SELECT * FROM missing',
    'Ping',
    'Statistics',
    'InitDB test',
    'FieldList 7400',
    'SetOption 0000',
    'StmtPrepare 1 SELECT v FROM t WHERE id >= ? ORDER BY id',
    'StmtExecute 1 0100000000010000000001030002000000',
    'StmtExecute 1 01000000010100000000000100000' + '0',
    'StmtFetch 1 0100000002000000',
    'StmtReset 1 01000000',
    'StmtPrepare 2 SELECT LENGTH(?)',
    `StmtSendLongData 2 020000000000${Buffer.from('long data').toString('hex')}`,
    'StmtExecute 2 0200000000010000000001fd00',
    'StmtClose 2 02000000',
    'StmtPrepare SELECT nothing FROM missing',
    'Query BEGIN',
    'Query INSERT INTO t VALUES (9, REPEAT("x", 90))',
    'Query ROLLBACK',
    'ResetConnect',
    'Quit',
  ]);
  const figures = ({ results, records }: CapturedConnection): unknown[] =>
    records.map((_, index) => results.get(index + 1)).map((result) => result && [result.rows, result.affectedRows, result.errorCode, result.ordered, result.unordered]);
  expect(figures(other!)).toEqual(figures(one!));
  const of = (ordinal: number) => one!.results.get(ordinal);
  expect([...one!.results.keys()].sort((a, b) => a - b)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 19, 20, 21, 22, 23]);
  expect(of(2)).toMatchObject({ rows: 3, errorCode: 0 });
  expect(of(3)).toMatchObject({ rows: 3, affectedRows: 2 });
  expect(of(4)).toMatchObject({ errorCode: 1146, rows: 0 });
  expect(of(11)).toMatchObject({ rows: 2 });
  expect(of(13)).toMatchObject({ rows: 2 });
  expect(of(21)).toMatchObject({ rows: 0, affectedRows: 1 });
  expect(one!.records[0]).toMatchObject({ user: 'root', database: 'test' });
  const times = one!.records.map(({ timeUs }) => timeUs);
  expect(times).toEqual([...new Set(times)].sort((a, b) => a - b));
});

test('no secret is in any byte of the files, whatever the command it came in', async () => {
  await begin();
  const client = await login();
  const secrets = ['hunter-', 'others-word', 'wire-kept-'];
  await client.send(Command.query, "SET PASSWORD FOR other@'127.0.0.1' = PASSWORD('hunter-1')");
  await client.send(Command.query, "/* x */ CREATE USER a1@'127.0.0.1' IDENTIFIED BY 'hunter-2'");
  await client.send(Command.query, "SELECT 1; ALTER USER a1@'127.0.0.1' IDENTIFIED BY 'hunter-3'");
  await client.send(Command.query, "PREPARE s FROM 'SET @p = PASSWORD(''hunter-4'')'");
  await client.send(Command.stmtExecute, execute(await prepare(client, "SET @p = PASSWORD('hunter-5')"), 0, ''));
  const five = await prepare(client, 'SELECT 5');
  await client.send(Command.stmtExecute, execute(five, 0, ''));
  const set = await prepare(client, 'SET @s = ?');
  const value = (text: string): Buffer => Buffer.concat([execute(set, 0, '0001fd00'), Buffer.from([text.length]), Buffer.from(text)]);
  await client.send(Command.stmtExecute, value("CREATE USER a2@localhost IDENTIFIED BY 'hunter-7'"));
  await client.send(Command.stmtExecute, value('harmless'));
  await client.send(Command.stmtSendLongData, Buffer.concat([u32(set), Buffer.from([0, 0]), Buffer.from('hunter-8')]));
  await client.send(Command.stmtExecute, value(''));
  await client.send(Command.query, `SET @long = '${'x'.repeat(300_000)}', @p = PASSWORD('hunter-6')`);
  await client.send(Command.query, "GRANT SELECT ON test.* TO other@'127.0.0.1' IDENTIFIED BY 'others-word'");
  expect((await client.changeUser('other', 'others-word', 'test')).at(-1)![0]).toBe(0);
  await client.send(Command.query, 'SELECT CURRENT_USER()');
  await client.send(Command.quit);
  client.close();
  const { records, results } = await ended();
  expect(captured.bytes().includes('SELECT CURRENT_USER()')).toBe(true);
  for (const secret of secrets) expect([secret, captured.bytes().includes(secret)]).toEqual([secret, false]);
  const progress = await captured.progress();
  expect(progress.leftOut).toEqual({ secret: 8, doubtful: 1, 'of-left-out': 2 });
  expect(progress.incomplete).toEqual({ 'left-out': 1 });
  expect(records.map(shown)).toEqual(['InitDB test', `StmtPrepare ${five} SELECT 5`, `StmtExecute ${five} ${execute(five, 0, '').toString('hex')}`, `StmtPrepare ${set} SET @s = ?`, `StmtExecute ${set} ${value('harmless').toString('hex')}`, 'ResetConnect', 'InitDB test', 'Query SELECT CURRENT_USER()', 'Quit']);
  expect(records[5]).toMatchObject({ user: 'other', database: 'test', payload: Buffer.alloc(0) });
  expect(results.get(6)).toMatchObject({ errorCode: 0 });
  expect([...results.keys()].sort()).toEqual([2, 3, 4, 5, 6, 8]);
}, 30_000);

for (const keepCredentials of [true, false]) {
  test(`what is written to the tables of accounts is left out by their names alone, in a session that is ${keepCredentials ? '' : 'not '}followed`, async () => {
    const own = await ProxyNode.start({ proxy: { backends: [`127.0.0.1:${server.port}`], keepCredentials } });
    try {
      await own.healthy(1);
      const open = async (database: string): Promise<WireClient> => {
        const client = await WireClient.login({ port: own.port, user: 'root', password: 'root', database, capabilities: wanted });
        clients.push(client);
        return client;
      };
      const replace = (name: string): string => `REPLACE INTO servers VALUES ('${name}', 'h', 'd', 'u', 'hunter-${name}', 1, '', 'mysql', '')`;
      const before = await open('test');
      await before.send(Command.query, 'USE mysql');
      captured = new Captured(own);
      await captured.start();
      await before.send(Command.query, replace('before'));
      const byLogin = await open('mysql');
      await byLogin.send(Command.query, replace('login'));
      const bySaying = await open('test');
      for (const used of [() => bySaying.send(Command.query, 'USE mysql'), () => bySaying.send(Command.initDb, 'mysql'), () => bySaying.changeUser('root', 'root', 'mysql')]) {
        await used();
        await bySaying.send(Command.query, replace('said'));
        await bySaying.send(Command.query, 'DELETE FROM servers');
        expect((await bySaying.changeUser('root', 'root', 'test')).at(-1)![0]).toBe(0);
        await bySaying.send(Command.query, replace('elsewhere'));
      }
      await bySaying.send(Command.query, `USE mysql; ${replace('both')}`);
      await bySaying.send(Command.query, 'DELETE FROM servers');
      expect(await captured.stop()).toMatchObject({ state: 'done', leftOut: { secret: 6 } });
      const bytes = captured.bytes().toString('latin1');
      expect([...new Set(bytes.match(/hunter-\w+/g))]).toEqual(['hunter-elsewhere']);
    } finally {
      await own.stop();
    }
  }, 30_000);
}

test('a session that was open before begins with what it has', async () => {
  const client = await login();
  await client.send(Command.query, 'CREATE DATABASE IF NOT EXISTS elsewhere');
  await client.send(Command.query, "SET NAMES latin1, sql_mode='ANSI_QUOTES', @a=17, @b='x''y', @hidden='CREATE USER hunter-9'");
  const plus = await prepare(client, 'SELECT ? + 1');
  await client.send(Command.stmtExecute, execute(plus, 0, '0001' + '0300' + '05000000'));
  await client.send(Command.initDb, 'elsewhere');
  await client.send(Command.query, 'CREATE TEMPORARY TABLE test.tt (a INT)');
  await client.send(Command.query, 'SET autocommit=0');
  await client.send(Command.query, 'SELECT 1');
  await begin();
  await waitUntil(async () => (await captured.progress()).sessions === 1, { what: 'its server was asked' });
  await client.send(Command.stmtExecute, execute(plus, 0, '0000' + '07000000'));
  await client.send(Command.stmtExecute, execute(plus, 0, '0000' + '08000000'));
  await client.send(Command.query, 'SELECT @a, @b');
  const id = client.threadId;
  const progress = await captured.stop();
  const { records, results } = (await captured.read())[0]!;
  expect(progress).toMatchObject({ sessions: 1, waiting: 0, incomplete: { 'temporary-table': 1, 'user-variables': 1 } });
  expect(captured.bytes().toString('latin1')).not.toMatch(/hunter|68756e746572/i);
  const lines = records.map(shown);
  expect(lines.slice(-3)).toEqual([`StmtExecute ${plus} ${execute(plus, 0, '0001030007000000').toString('hex')}`, `StmtExecute ${plus} ${execute(plus, 0, '000008000000').toString('hex')}`, 'Query SELECT @a, @b']);
  expect(lines[0]).toBe('InitDB elsewhere');
  expect(results.size).toBe(3);
  expect(records[0]).toMatchObject({ connectionId: id, user: 'root', collation: 45 });
  // Whoever plays the beginning has what the session had.
  let playedId = 0;
  const again = await WireClient.login({ port: server.port, user: 'root', password: 'root', capabilities: wanted });
  for (const { command, payload } of records.slice(0, -3)) {
    const [answer] = await again.send(command, payload);
    expect([commandText(command), answer![0]]).toEqual([commandText(command), 0]);
    if (command === Command.stmtPrepare) playedId = answer!.readUInt32LE(1);
  }
  const values = 'SELECT @a, @b, @@sql_mode, @@autocommit, DATABASE(), @@character_set_client, @@collation_connection, @@character_set_results';
  expect(await again.send(Command.query, values)).toEqual(await client.send(Command.query, values));
  const first = Buffer.from(records.at(-3)!.payload);
  const answer = await client.send(Command.stmtExecute, first);
  first.writeUInt32LE(playedId, 0);
  expect((await again.send(Command.stmtExecute, first)).slice(0, 3)).toEqual(answer.slice(0, 3));
  again.close();
}, 30_000);

test('a session that nobody follows begins with what its login and its prepared statements say', async () => {
  const plain = await ProxyNode.start({ proxy: { backends: [`127.0.0.1:${server.port}`] } });
  try {
    await plain.healthy(1);
    const client = await WireClient.login({ port: plain.port, user: 'root', password: 'root', database: 'test', capabilities: wanted });
    clients.push(client);
    const id = await prepare(client, 'SELECT 7');
    captured = new Captured(plain);
    await captured.start();
    await client.send(Command.stmtExecute, execute(id, 0, ''));
    expect(await captured.stop()).toMatchObject({ sessions: 1, incomplete: { untracked: 1 } });
    expect((await captured.read())[0]!.records.map(shown)).toEqual(['InitDB test', `StmtPrepare ${id} SELECT 7`, `StmtExecute ${id} ${execute(id, 0, '').toString('hex')}`]);
  } finally {
    await plain.stop();
  }
}, 30_000);

test('of LOAD DATA LOCAL neither statement nor file is in the files, and the session goes on', async () => {
  await begin();
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-infile-'));
  try {
    writeFileSync(join(folder, 'rows'), '21\tfrom-the-file\n');
    await mysqlCli(node.port, `LOAD DATA LOCAL INFILE '${folder}/rows' INTO TABLE t; SELECT COUNT(*) FROM t; DELETE FROM t WHERE id = 21`, ['--local-infile=1', '--database=test']);
    const { records } = await ended();
    expect(records.map(shown).filter((line) => line.startsWith('Query'))).toEqual(['Query SELECT COUNT(*) FROM t', 'Query DELETE FROM t WHERE id = 21']);
    expect(captured.bytes().includes('from-the-file')).toBe(false);
    expect((await captured.progress()).leftOut).toEqual({ 'load-data': 1 });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 30_000);

test('where quotes cannot be told from halves of characters, what may be a secret is left out', async () => {
  await begin();
  const client = await login();
  await client.send(Command.query, 'SET NAMES gbk');
  await client.send(Command.query, "SELECT 'user', 'password'");
  await client.send(Command.query, "SELECT 'plain'");
  await client.send(Command.quit);
  client.close();
  expect((await ended()).records.map(shown)).toEqual(['InitDB test', 'Query SET NAMES gbk', "Query SELECT 'plain'", 'Quit']);
  expect((await captured.progress()).leftOut).toEqual({ doubtful: 1 });
});

test('a driver that is used as applications use it leaves what it says', async () => {
  await begin();
  const client = await node.connect();
  await client.query('SELECT ? + ?', [1, 2]);
  await client.execute('SELECT ? AS a', [5]);
  await client.execute('SELECT ? AS a', [6]);
  await client.end();
  const { records, results } = await ended();
  expect(records.map(shown).map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual(['InitDB test', 'Query SELECT', expect.stringMatching(/^StmtPrepare \d/), expect.stringMatching(/^StmtExecute \d/), expect.stringMatching(/^StmtExecute \d/), 'Quit']);
  expect([...results.values()].map(({ rows }) => rows)).toEqual([1, 0, 1, 1]);
});
