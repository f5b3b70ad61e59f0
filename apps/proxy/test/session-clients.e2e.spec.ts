import { execFile } from 'node:child_process';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Capability } from '@binnacle/mysql-wire/capabilities';
import { startMariadb, type MariadbServer } from '@binnacle/testing/mariadb-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import * as mariadb from 'mariadb';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { RelayedSessions } from './relayed-sessions.js';

const run = promisify(execFile);
let server: MariadbServer;

beforeAll(async () => {
  server = await startMariadb({ args: ['--local-infile=1', '--max-allowed-packet=64M'] });
  await server.sql(`
    USE test;
    CREATE TABLE numbers (id INT PRIMARY KEY, name VARCHAR(20)); INSERT INTO numbers SELECT seq, CONCAT('n', seq) FROM seq_1_to_2000;
    CREATE TABLE loaded (a INT, b VARCHAR(20));
    DELIMITER //
    CREATE PROCEDURE twice() BEGIN SELECT 1 AS one; SELECT 2 AS two; END//`);
}, 90_000);
afterAll(() => server.stop());

const own = Capability.deprecateEof | Capability.sessionTrack;
const kinds = [
  ['as they are', { hides: Capability.sessionTrack }],
  ['translated', { adds: own }],
  ['translated and tracked', { adds: own, tracked: true }],
] as const;

for (const [what, options] of kinds) {
  describe(what, () => {
    let sessions: RelayedSessions;
    let port: number;
    beforeAll(async () => {
      sessions = new RelayedSessions(server.port, options);
      port = await sessions.listen();
    });
    afterAll(async () => {
      expect(sessions.failures).toEqual([]);
      await sessions.close();
    });

    const login = { host: '127.0.0.1', user: 'root', password: 'root', database: 'test' };
    const connect = (more: object = {}): Promise<Connection> => mysql.createConnection({ ...login, port, ...more });

    test('mysql2: text, prepared statements, errors, several results, procedures, a stream of rows', async () => {
      const connection = await connect({ multipleStatements: true });
      expect((await connection.query('SELECT 1 AS a; SELECT 2 AS b'))[0]).toEqual([[{ a: 1 }], [{ b: 2 }]]);
      for (let i = 1; i <= 20; i++) expect((await connection.execute('SELECT name FROM numbers WHERE id = ?', [i]))[0]).toEqual([{ name: `n${i}` }]);
      await expect(connection.execute('SELECT * FROM nowhere')).rejects.toMatchObject({ errno: 1146 });
      await expect(connection.query('SELECT FROM')).rejects.toMatchObject({ errno: 1064 });
      const [called] = (await connection.query('CALL twice()')) as unknown as [RowDataPacket[][]];
      expect(called.slice(0, 2)).toEqual([[{ one: 1 }], [{ two: 2 }]]);
      expect(((await connection.query('SELECT * FROM numbers'))[0] as RowDataPacket[]).length).toBe(2_000);
      expect((await connection.execute('SELECT REPEAT(?, 20000000) AS large', ['x']) as unknown as [{ large: string }[]])[0][0]!.large.length).toBe(20_000_000);
      await connection.ping();
      await connection.end();
    });

    test('mysql2: a file of LOAD DATA LOCAL, behind another result too', async () => {
      const connection = await connect({ multipleStatements: true, flags: ['+LOCAL_FILES'] });
      const rows = Array.from({ length: 30_000 }, (_, i) => `${i}\tv${i}\n`).join('');
      for (const before of ['', 'SELECT 1; ']) {
        await connection.query('TRUNCATE loaded');
        await connection.query({ sql: `${before}LOAD DATA LOCAL INFILE 'rows' INTO TABLE loaded`, infileStreamFactory: () => Readable.from([Buffer.from(rows)]) } as never);
        expect((await connection.query('SELECT COUNT(*) AS n, MAX(b) AS b FROM loaded'))[0]).toEqual([{ n: 30_000, b: 'v9999' }]);
      }
      await connection.end();
    });

    test('mariadb: pipelined, in bulk, prepared and streamed', async () => {
      const connection = await mariadb.createConnection({ ...login, port, multipleStatements: true });
      const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => connection.query(`SELECT ${i} AS i`) as Promise<{ i: unknown }[]>));
      expect(answers.map(([first]) => Number(first!.i))).toEqual(Array.from({ length: 200 }, (_, i) => i));
      await connection.query('TRUNCATE loaded');
      await connection.batch('INSERT INTO loaded VALUES (?, ?)', Array.from({ length: 3_000 }, (_, i) => [i, `bulk${i}`]));
      expect(await connection.query('SELECT COUNT(*) AS n FROM loaded')).toEqual([{ n: 3_000n }]);
      for (let i = 0; i < 5; i++) expect(await connection.execute('SELECT ? AS v', [i])).toEqual([{ v: i }]);
      let streamed = 0;
      for await (const row of connection.queryStream('SELECT * FROM numbers')) streamed += row === null ? 0 : 1;
      expect(streamed).toBe(2_000);
      await expect(connection.query('SELECT * FROM nowhere')).rejects.toMatchObject({ errno: 1146 });
      await connection.reset();
      expect(await connection.query('SELECT 1 AS a')).toEqual([{ a: 1 }]);
      await connection.end();
    });

    test('the command line client: rows, warnings, errors, a table of 2,000', async () => {
      const cli = (statements: string, ...args: string[]): Promise<string> =>
        run('mariadb', ['--no-defaults', '-h127.0.0.1', `-P${port}`, '-uroot', '-proot', '--batch', ...args, 'test', '-e', statements]).then(({ stdout }) => stdout);
      expect(await cli('SELECT 1 AS a; SHOW WARNINGS; SELECT 1/0 AS b; SHOW WARNINGS')).toBe('a\n1\nb\nNULL\nLevel\tCode\tMessage\nWarning\t1365\tDivision by 0\n');
      expect((await cli('SELECT * FROM numbers')).split('\n')).toHaveLength(2_002);
      await expect(cli('SELECT nonsense')).rejects.toThrow(/1054/);
    });

    test('KILL and Ctrl-C by the thread id of the greeting reach the statement at its backend', async () => {
      const victim = await connect();
      const killer = await connect();
      const { threadId } = victim;
      expect(threadId).toBeGreaterThanOrEqual(2 ** 31);
      const sleeping = victim.query('SELECT SLEEP(60) AS slept');
      await waitUntil(() => server.sql('SHOW PROCESSLIST').then((list) => list.includes('SLEEP(60)')), { what: 'the statement runs' });
      await killer.query(`KILL QUERY ${threadId}`);
      expect((await sleeping.catch((error: { errno: number }) => error.errno) as [unknown[]] | number)).not.toBeUndefined();
      const closed = new Promise((resolve) => victim.on('error', resolve));
      await killer.query(`KILL ${threadId}`);
      await closed;
      await expect(killer.query(`KILL ${2 ** 31}`)).rejects.toMatchObject({ errno: 1094 });
      await killer.end();
    });
  });
}

test('a server killed in the middle of a result: the client has an error, at once', async () => {
  const dying = await startMariadb();
  const sessions = new RelayedSessions(dying.port, { adds: own });
  try {
    const port = await sessions.listen();
    const connection = await mysql.createConnection({ host: '127.0.0.1', port, user: 'root', password: 'root' });
    connection.on('error', () => {});
    const failed = connection.query('SELECT REPEAT("x", 1000) FROM test.seq_1_to_100000000').then(
      () => undefined,
      (error: Error & { code: string }) => error,
    );
    await waitUntil(() => [...sessions.sessions.values()].some(({ backend }) => backend.channel.bytesRead > 10_000_000));
    await dying.kill9();
    expect(await failed).toBeInstanceOf(Error);
    await waitUntil(() => sessions.sessions.size === 0);
  } finally {
    await sessions.close();
    await dying.stop();
  }
}, 90_000);

test('a server that hangs keeps its sessions waiting, and answers them when it goes on', async () => {
  const sessions = new RelayedSessions(server.port, { adds: own });
  const port = await sessions.listen();
  const connection = await mysql.createConnection({ host: '127.0.0.1', port, user: 'root', password: 'root' });
  server.pause();
  const asked = connection.query('SELECT 5 AS a');
  await waitUntil(() => [...sessions.sessions.values()].every(({ phase }) => phase === 'busy'));
  server.resume();
  expect((await asked)[0]).toEqual([{ a: 5 }]);
  await connection.end();
  await sessions.close();
}, 30_000);
