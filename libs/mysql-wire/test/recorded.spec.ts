import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startMariadb, type MariadbServer } from '@binnacle/testing/mariadb-server';
import { randomChunks, seededRandom } from '@binnacle/testing/seeded-random';
import { waitUntil } from '@binnacle/testing/wait-until';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createConnection as createMariadbConnection } from 'mariadb';
import { createConnection, type Connection } from 'mysql2/promise';
import { RecordingRelay, type Turn } from './recorded-connection.js';
import { Capability, MariadbCapability } from '../src/capabilities.js';
import { isLexerSafeCharset, isLexerSafeCollation } from '../src/charset.js';
import { Command } from '../src/command.js';
import { MalformedPacketError } from '../src/malformed-packet-error.js';
import { PacketWriter } from '../src/packet-writer.js';
import { RawClient } from './raw-client.js';
import { follow, followTranslated, wholeTurns, type Followed } from './replay.js';

/*
 * What real clients and a real server say to each other, in whatever pieces it arrives: the trackers must find the same boundaries and
 * statuses. That they are the right ones shows in that every command begins when its predecessor's answer is complete, and in the logs.
 */

const run = promisify(execFile);
const credentials = { host: '127.0.0.1', user: 'root', password: 'root', database: 'test' };

let server: MariadbServer;

beforeAll(async () => {
  server = await startMariadb({
    args: ['--local-infile=1', '--max-allowed-packet=64M', '--progress-report-time=1', '--session-track-system-variables=*',
      '--session-track-state-change=ON', '--session-track-transaction-info=CHARACTERISTICS'],
  });
  await server.sql(`USE test; CREATE TABLE numbers (n INT PRIMARY KEY, label VARCHAR(40)); INSERT INTO numbers SELECT seq, concat('n', seq) FROM seq_1_to_500;
    delimiter //
    CREATE PROCEDURE two(IN wanted INT, OUT found INT) BEGIN SELECT 1; SELECT n, label FROM numbers WHERE n <= wanted; SET found = wanted; END//`);
}, 90_000);

afterAll(() => server?.stop());

/** Lets a client speak through a relay and gives what each of its connections said. */
async function record(speak: (port: number) => Promise<void>): Promise<Turn[][]> {
  const relay = await RecordingRelay.start(server.port);
  try {
    await speak(relay.port);
    await waitUntil(() => relay.connections.every((connection) => connection.closed), { what: 'the client has closed its connections' });
    return relay.connections.map((connection) => connection.turns);
  } finally {
    await relay.stop();
  }
}

/** The same in whole turns, in bytes and in random pieces; long turns only in larger pieces. */
function followed(turns: readonly Turn[], pipelines = false): Followed {
  const whole = follow(turns, wholeTurns, pipelines);
  for (const pieceBytesMax of [1, 2, 16, 1_000]) {
    const random = seededRandom(pieceBytesMax);
    const cut = (bytes: Buffer): Buffer[] => randomChunks(bytes, random, bytes.length > 200_000 ? 70_000 * pieceBytesMax : pieceBytesMax);
    const pieces = follow(turns, cut, pipelines);
    expect(pieces.log).toEqual(whole.log);
    expect(pieces.changes).toEqual(whole.changes);
  }
  return whole;
}

async function withMysql2(options: object, speak: (connection: Connection) => Promise<void>): Promise<Turn[][]> {
  return record(async (port) => {
    const connection = await createConnection({ ...credentials, port, ...options });
    await speak(connection);
    await connection.end();
  });
}

test('mysql CLI: results, errors, transactions, procedures', async () => {
  const script = `SELECT 1; SELECT * FROM numbers; SELEC; BEGIN; SELECT n FROM numbers WHERE n = 0; COMMIT; USE test; SET @a = 1; SET SESSION sql_mode = 'ANSI_QUOTES';
    CALL two(3, @out); LOCK TABLES numbers READ; UNLOCK TABLES; SELECT sleep(0)`;
  const [turns] = await record(async (port) => {
    const args = ['--no-defaults', '-h127.0.0.1', `-P${port}`, '-uroot', '-proot', '--force', 'test'];
    const child = run('mysql', args);
    child.child.stdin!.end(`${script};\n`);
    await child;
  });
  const { log, changes } = followed(turns!);
  expect(log).toEqual(expect.arrayContaining([
    'COM_QUERY SELECT 1 -> complete 2',
    'COM_QUERY SELECT * FROM numbers -> complete 34',
    'COM_QUERY SELEC -> complete error 1064',
    'COM_QUERY BEGIN -> complete 3',
    'COM_QUERY COMMIT -> complete 2',
    'COM_QUERY CALL two(3, @out) -> result 32778',
    'COM_QUERY CALL two(3, @out) -> complete 32770',
  ]));
  expect(log.filter((line) => line.startsWith('COM_QUERY CALL two'))).toHaveLength(3);
  expect(changes).toContainEqual({ kind: 'systemVariable', name: 'sql_mode', value: 'ANSI_QUOTES' });
  expect(changes).toContainEqual({ kind: 'state', changed: true });
  expect(changes).toContainEqual({ kind: 'schema', name: 'test' });
  expect(changes).toContainEqual({ kind: 'transactionCharacteristics', statements: 'START TRANSACTION;' });
});

test('mysql CLI: a compressed session with a large result', async () => {
  const [turns] = await record(async (port) => {
    const args = ['--no-defaults', '--compress', '--max-allowed-packet=64M', '-h127.0.0.1', `-P${port}`, '-uroot', '-proot', 'test'];
    await run('mysql', [...args, '-e', "SELECT * FROM numbers; SELECT repeat('abc', 7000000); SELECT 2"], { maxBuffer: 64e6 });
  });
  const { log } = followed(turns!);
  expect(log.slice(-3)).toEqual(['COM_QUERY SELECT * FROM numbers -> complete 34', "COM_QUERY SELECT repeat('abc', 7000000) -> complete 2", 'COM_QUERY SELECT 2 -> complete 2']);
});

test('frames compressed here are understood by the server', async () => {
  const [turns] = await record(async (port) => {
    const client = await RawClient.login(port, Capability.compress | Capability.deprecateEof);
    for (const length of [1, 60, 100_000, 17_000_000]) expect(await client.send(Command.query, `SELECT length('${'z'.repeat(length)}')`)).toBe(0);
    client.close();
  });
  expect(followed(turns!).log.map((line) => line.slice(-10))).toEqual(['complete 2', 'complete 2', 'complete 2', 'complete 2']);
});

test('mysql CLI: LOAD DATA LOCAL, of a file that is there and of one that is not', async () => {
  const file = join(server.folder, 'numbers.csv');
  await writeFile(file, Array.from({ length: 40_000 }, (_, index) => `${index + 1000}\tlabel ${index}\n`).join(''));
  const [turns] = await record(async (port) => {
    const args = ['--no-defaults', '--local-infile=1', '--force', '-h127.0.0.1', `-P${port}`, '-uroot', '-proot', 'test'];
    const load = (path: string): string => `LOAD DATA LOCAL INFILE '${path}' INTO TABLE numbers;\n`;
    const child = run('mysql', args);
    child.child.stdin!.end(`${load(file)}${load('/nowhere')}SELECT 3;\n`);
    await child.catch(() => {}); // It reports the missing file by its exit code.
  });
  const { log } = followed(turns!);
  const loads = log.filter((line) => line.startsWith('COM_QUERY LOAD')).map((line) => line.replace(/.*->/, '->'));
  expect(loads).toEqual(['-> infile -1', '-> complete 2', '-> infile 2', '-> complete 2']);
  expect(log.at(-1)).toBe('COM_QUERY SELECT 3 -> complete 2');
});

test('mysql2, without DEPRECATE_EOF: prepared statements, several results, change of user, errors', async () => {
  const [turns] = await withMysql2({ multipleStatements: true }, async (connection) => {
    await connection.execute('SELECT n FROM numbers WHERE n = ?', [7]);
    await connection.execute('SELECT n FROM numbers WHERE n = ?', [8]);
    await connection.execute('DO 1');
    await expect(connection.execute('SELECT nothing')).rejects.toThrow();
    await connection.query('SELECT 1; DO 2; SELECT n FROM numbers LIMIT 3; BEGIN');
    await connection.query('CALL two(2, @x)');
    await connection.execute('CALL two(?, @x)', [2]);
    await expect(connection.query('SELECT 1; SELECT nothing; SELECT 3')).rejects.toThrow();
    await connection.rollback();
    await connection.changeUser({ ...credentials });
    await connection.ping();
  });
  const { log, response } = followed(turns!);
  expect(response.attributes?.length).toBeGreaterThan(0);
  const several = log.filter((line) => line.startsWith('COM_QUERY SELECT 1; DO 2')).map((line) => line.replace(/.*->/, '->'));
  expect(several).toEqual(['-> result 10', '-> result 10', '-> result 42', '-> complete 3']);
  expect(log).toContain('COM_QUERY SELECT 1; SELECT nothing; SELECT 3 -> complete error 1054');
  expect(log.filter((line) => line.startsWith('COM_STMT_PREPARE')).map((line) => line.replace(/.*->/, '->'))).toEqual([
    '-> prepared -1', '-> complete 2', '-> prepared 2', '-> complete 2', '-> complete error 1054', '-> prepared 3', '-> complete 3',
  ]);
  expect(log).toContain('COM_CHANGE_USER -> complete 2');
  expect(log.at(-1)).toBe('COM_PING -> complete 2');
});

test('mysql2: packets of 16 MB and more, both ways, also of exactly a full frame', async () => {
  const lengths = [0xff_ff_ff - 20, 0xff_ff_ff - 8, 0xff_ff_ff - 4, 17_000_000, 34_000_000];
  const [turns] = await withMysql2({}, async (connection) => {
    for (const length of lengths) {
      const [rows] = await connection.query(`SELECT repeat('x', ${length}) AS x`);
      expect((rows as { x: string }[])[0]?.x.length).toBe(length);
    }
    for (const length of [0xff_ff_ff - 18, 0xff_ff_ff - 17, 20_000_000]) await connection.query(`SELECT length('${'y'.repeat(length)}')`);
  });
  const { log } = followed(turns!);
  expect(log.filter((line) => line.startsWith("COM_QUERY SELECT repeat('x'"))).toHaveLength(5);
  expect(log.filter((line) => line.startsWith("COM_QUERY SELECT length('y")).map((line) => line.slice(-10))).toEqual(['complete 2', 'complete 2', 'complete 2']);
}, 90_000);

test('mariadb: pipelined commands, cached metadata, bulk execution, streams', async () => {
  const recorded = await record(async (port) => {
    const connection = await createMariadbConnection({ ...credentials, port, pipelining: true });
    await connection.execute('SELECT n, label FROM numbers WHERE n = ?', [3]);
    await connection.execute('SELECT n, label FROM numbers WHERE n = ?', [4]);
    await Promise.all([connection.query('SELECT 1'), connection.query('SELECT 2'), connection.query('SELEC').catch(() => {}), connection.query('SELECT 4')]);
    await connection.query('CREATE TABLE bulk (n INT, label TEXT)');
    await connection.batch('INSERT INTO bulk VALUES (?, ?)', [[1, 'a'], [2, 'b'], [3, null]]);
    await connection.beginTransaction();
    await connection.reset();
    await connection.ping();
    await connection.end();
  });
  const { log, capabilities } = followed(recorded[0]!, true);
  expect(capabilities.mariadbCapabilities).not.toBe(0);
  expect(log).toEqual(expect.arrayContaining(['COM_QUERY SELECT 4 -> complete 2', 'COM_QUERY SELEC -> complete error 1064', 'COM_PING -> complete 2']));
  expect(log.filter((line) => /^COM_STMT_(BULK_)?EXECUTE/.test(line)).length).toBeGreaterThanOrEqual(3);
});

test('sysbench: prepared statements in transactions', async () => {
  const recorded = await record(async (port) => {
    const options = ['oltp_read_write', '--db-driver=mysql', '--mysql-host=127.0.0.1', `--mysql-port=${port}`, '--mysql-user=root', '--mysql-password=root',
      '--mysql-db=test', '--table-size=100', '--threads=2', '--events=20', '--time=20'];
    for (const step of ['prepare', 'run']) await run('sysbench', [...options, step]);
  });
  const logs = recorded.flatMap((turns) => followed(turns).log);
  expect(logs.filter((line) => line.startsWith('COM_STMT_EXECUTE -> complete')).length).toBeGreaterThan(300);
  // Two connections may run into each other's locks; nothing else fails.
  expect(logs.filter((line) => line.includes('error') && !line.endsWith(' 1213'))).toEqual([]);
});

/** Of the rare commands, by DEPRECATE_EOF. */
const rareCommands = new Map<number, string[]>();
const recordings = new Map<number, Turn[]>();
/** A binlog has grown between two recordings, and so may have what its EOF says. */
const withoutBinlog = (line: string): string => line.replace(/(COM_BINLOG_DUMP -> complete).*/, '$1');
const withNumber = (id: number, more = 0): PacketWriter => new PacketWriter().u32(id).u8(more);

for (const deprecateEof of [0, Capability.deprecateEof]) {
  test(`commands that few clients send ${deprecateEof ? 'with' : 'without'} DEPRECATE_EOF: cursors, long data, lists, statistics`, async () => {
    const [turns] = await record(async (port) => {
      const client = await RawClient.login(port, deprecateEof | Capability.sessionTrack | Capability.multiResults | Capability.psMultiResults | Capability.transactions);
      expect(await client.send(Command.stmtPrepare, 'SELECT n, label FROM numbers WHERE n <= 25 ORDER BY n')).toBe(0);
      const cursor = client.statementId;
      expect(await client.send(Command.stmtExecute, withNumber(cursor, 1).u32(1).finish())).toBe(0);
      for (let batch = 0; batch < 3; batch++) await client.send(Command.stmtFetch, new PacketWriter().u32(cursor).u32(10).finish());
      expect(await client.send(Command.stmtReset, new PacketWriter().u32(cursor).finish())).toBe(0);
      expect(await client.send(Command.stmtFetch, new PacketWriter().u32(cursor).u32(10).finish())).toBe(1421);
      expect(await client.send(Command.stmtPrepare, 'SELECT ? AS data, n FROM numbers LIMIT 2')).toBe(0);
      const long = client.statementId;
      for (const piece of ['a', 'b'.repeat(500)]) await client.send(Command.stmtSendLongData, new PacketWriter().u32(long).u16(0).string(piece).finish());
      expect(await client.send(Command.stmtExecute, withNumber(long).u32(1).u8(0).u8(1).u8(0xfc).u8(0).finish())).toBe(0);
      await client.send(Command.stmtClose, new PacketWriter().u32(long).finish());
      await client.send(Command.statistics);
      await client.send(Command.fieldList, 'numbers\0');
      await client.send(Command.setOption, new PacketWriter().u16(0).finish());
      await client.send(Command.setOption, new PacketWriter().u16(1).finish());
      await client.send(Command.debug);
      await client.send(Command.processInfo);
      await client.send(Command.initDb, 'test');
      expect(await client.send(Command.initDb, 'nowhere')).toBe(1049);
      await client.send(Command.query, 'BEGIN');
      await client.send(Command.resetConnection);
      await client.send(Command.processKill, new PacketWriter().u32(0xff_ff_ff).finish());
      await client.send(0x7f);
      await client.send(Command.query, 'SET @master_binlog_checksum = @@global.binlog_checksum');
      await client.send(Command.binlogDump, new PacketWriter().u32(4).u16(1).u32(4_000).string('binlog.000001').finish());
      await client.send(Command.quit);
      client.close();
    });
    const { log } = followed(turns!);
    const of = (name: string): string[] => log.filter((line) => line.startsWith(name)).map((line) => line.replace(/.*-> /, ''));
    expect(of('COM_STMT_FETCH')).toEqual(['complete 66', 'complete 66', 'complete 130', 'complete error 1421']);
    expect(of('COM_STMT_EXECUTE')).toEqual(['complete 66', 'complete 34']);
    expect(of('COM_QUERY BEGIN')).toEqual(['complete 3']);
    expect(of('COM_RESET_CONNECTION')).toEqual(['complete 2']);
    expect(of('COM_UNKNOWN')).toEqual(['complete error 1047']);
    expect(of('COM_BINLOG_DUMP')).toHaveLength(1);
    expect(of('COM_INIT_DB')).toEqual(['complete 2', 'complete error 1049']);
    rareCommands.set(deprecateEof, log);
    recordings.set(deprecateEof, turns!);
  });
}

test('through a translator a client without DEPRECATE_EOF sees what it sees without one, and the other way round', () => {
  const random = seededRandom(9);
  const cut = (bytes: Buffer): Buffer[] => randomChunks(bytes, random, 30);
  for (const [backend, client] of [[Capability.deprecateEof, 0], [0, Capability.deprecateEof]] as const) {
    const translated = followTranslated(recordings.get(backend)!, { capabilities: Capability.protocol41 | client, mariadbCapabilities: 0 }, cut);
    expect(translated.map(withoutBinlog)).toEqual(rareCommands.get(client)!.map(withoutBinlog));
  }
});

test('mutated recordings are followed or refused, never anything else', () => {
  // What the replay itself objects to: a client that would not have waited.
  const outOfStep = /begins before|ends within a packet|no boundary at|login refused|ended the login|come out as/;
  for (let seed = 0; seed < 600; seed++) {
    const random = seededRandom(seed);
    const turns = recordings.get(random.oneOf([0, Capability.deprecateEof]))!.slice(0, -2).map(({ from, bytes }) => ({ from, bytes: Buffer.from(bytes) }));
    for (let count = 1 + random.below(3); count > 0; count--) {
      const { bytes } = random.oneOf(turns);
      bytes[random.below(Math.min(bytes.length, 40))] = random.oneOf([0, 1, 5, 0xfb, 0xfc, 0xfe, 0xff, random.below(256)]);
    }
    try {
      follow(turns, wholeTurns);
    } catch (error) {
      if (!(error instanceof MalformedPacketError) && !outOfStep.test((error as Error).message)) throw new Error(`seed ${seed}`, { cause: error });
    }
  }
});

test('progress reports come while a table is copied', async () => {
  await server.sql('USE test; CREATE TABLE slow AS SELECT seq FROM seq_1_to_50');
  const [turns] = await record(async (port) => {
    const client = await RawClient.login(port, Capability.deprecateEof, MariadbCapability.progress);
    expect(await client.send(Command.query, 'ALTER TABLE slow ADD COLUMN s CHAR(32) DEFAULT (md5(repeat(seq, 10000000))), ALGORITHM=COPY')).toBe(0);
    client.close();
  });
  expect(turns!.filter(({ from, bytes }) => from === 'server' && bytes.includes(Buffer.from([0xff, 0xff, 0xff]))).length).toBeGreaterThan(0);
  expect(followed(turns!).log).toEqual([expect.stringMatching(/^COM_QUERY ALTER .* -> complete 2$/)]);
});

test('a killed query ends in the midst of its rows, and the next command is answered', async () => {
  const running = "info LIKE 'SELECT n, sleep%'";
  const [turns] = await record(async (port) => {
    const client = await RawClient.login(port, Capability.deprecateEof);
    const answer = client.send(Command.query, 'SELECT n, sleep((n = 300) * 30) FROM numbers ORDER BY n');
    const id = await waitUntil(() => server.sql(`SELECT id FROM information_schema.processlist WHERE ${running} AND time_ms > 50`), { what: running });
    await server.sql(`KILL QUERY ${id}`);
    await answer;
    await client.send(Command.ping);
    client.close();
  });
  expect(followed(turns!).log).toEqual(['COM_QUERY SELECT n, sleep((n = 300) * 30) FROM numbers ORDER BY n -> complete error 1317', 'COM_PING -> complete 2']);
});

test('the character sets in which a quote may be the half of a character are known by all their numbers', async () => {
  const rows = (await server.sql('SELECT id, character_set_name FROM information_schema.collations WHERE id > 0 AND character_set_name IS NOT NULL')).trim().split('\n');
  const wrong = rows.filter((row) => {
    const [id, name] = row.split('\t');
    return isLexerSafeCollation(Number(id)) !== isLexerSafeCharset(name!);
  });
  expect(rows.length).toBeGreaterThan(200);
  expect(wrong).toEqual([]);
});
