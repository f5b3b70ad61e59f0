import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { Command } from '@binnacle/mysql-wire/command';
import { waitUntil } from '@binnacle/testing/wait-until';
import { startMariadb, type MariadbServer } from '@binnacle/testing/mariadb-server';
import { ReportBuilder, type ComparedCommand } from '../src/traffic/report/report-builder.js';
import type { Outcomes } from '../src/traffic/report/traffic-report.js';
import { runReplay } from '../src/traffic/replay/replay-engine.js';
import type { ReplayOrder } from '../src/traffic/replay/replay-order.js';
import { readTarget } from '../src/traffic/replay/replay-target.js';
import { TrafficReplay, type TrafficReplayOptions } from '../src/traffic/replay/traffic-replay.js';
import { HandWrittenCapture, targetAt } from './hand-written-capture.js';

let a: MariadbServer;
let b: MariadbServer;

const schema = `
  DROP DATABASE IF EXISTS shop; CREATE DATABASE shop; USE shop;
  CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(50), price INT);
  INSERT INTO items SELECT seq, CONCAT('item ', seq), seq * 10 FROM seq_1_to_100;
  CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, body LONGTEXT);
`;

beforeAll(async () => {
  [a, b] = await Promise.all([startMariadb(), startMariadb()]);
}, 120_000);

beforeEach(async () => {
  await Promise.all([a.sql(schema), b.sql(schema)]);
});

afterAll(() => Promise.all([a?.stop(), b?.stop()]));

interface Replayed {
  readonly replay: TrafficReplay;
  readonly totals: Outcomes;
  readonly reported: readonly ComparedCommand[];
}

async function replayTo(server: MariadbServer, source: TrafficReplayOptions['source'], options: Partial<TrafficReplayOptions> = {}, begins: (replay: TrafficReplay) => void = () => {}): Promise<Replayed> {
  const target = targetAt(server.port);
  const builder = new ReportBuilder();
  const reported: ComparedCommand[] = [];
  const replay = new TrafficReplay({
    source, target, facts: await readTarget(target), speed: 10, readOnly: false, signal: new AbortController().signal,
    filters: { users: new Set(), commands: new Set(), digests: new Set() },
    report: (command) => {
      reported.push(command);
      builder.add(command);
    },
    ...options,
  });
  begins(replay);
  await replay.run();
  return { replay, totals: builder.totals, reported };
}

/** Everything that sessions do: statements of both protocols, cursors, long data, errors, transactions, several results. */
async function work(capture: HandWrittenCapture): Promise<void> {
  for (const connection of [7, 8]) await capture.command(connection, Command.initDb, Buffer.from('shop'));
  await capture.query(7, 'SELECT * FROM items ORDER BY id');
  await capture.query(8, 'SELECT COUNT(*), NOW() FROM items');
  const statement = await capture.prepare(7, 'SELECT * FROM items WHERE id > ? AND price < ?');
  const other = await capture.prepare(8, 'SELECT name FROM items WHERE id = ?');
  for (let n = 0; n < 20; n++) {
    await capture.execute(7, statement, [n, 500]);
    await capture.execute(8, other, [n]);
  }
  await capture.execute(7, statement, [3, 900], 1);
  for (let n = 0; n < 3; n++) await capture.fetch(7, statement, 30);
  await capture.query(7, 'SELECT nothing FROM items');
  await capture.query(8, 'INSERT INTO items VALUES (1, "twice", 1)');
  const insert = await capture.prepare(8, 'INSERT INTO notes (body) VALUES (?)');
  const head = Buffer.alloc(6);
  head.writeUInt32LE(insert, 0);
  for (let n = 0; n < 3; n++) await capture.command(8, Command.stmtSendLongData, Buffer.concat([head, Buffer.from('a long text '.repeat(1_000))]));
  const execution = Buffer.alloc(9);
  execution.writeUInt32LE(insert, 0);
  execution.writeUInt32LE(1, 5);
  await capture.command(8, Command.stmtExecute, Buffer.concat([execution, Buffer.from([0, 1, 0xfc, 0])]));
  await capture.query(8, 'SELECT id, LENGTH(body), MD5(body) FROM notes');
  await capture.query(7, 'BEGIN');
  await capture.query(7, 'UPDATE items SET price = price + 1 WHERE id <= 10');
  await capture.query(7, 'SELECT SUM(price) FROM items');
  await capture.query(7, 'ROLLBACK');
  await capture.query(8, 'SELECT 1; UPDATE items SET name = "x" WHERE id = 5; SELECT name FROM items WHERE id = 5');
  await capture.query(8, 'SET @n = 5, SESSION sql_mode = "ANSI_QUOTES"');
  await capture.query(8, 'SELECT "name" FROM items WHERE id = @n');
  await capture.query(8, "PREPARE s FROM 'SELECT price FROM items WHERE id = ?'");
  await capture.query(8, 'EXECUTE s USING @n');
  const id = Buffer.alloc(4);
  id.writeUInt32LE(statement, 0);
  await capture.command(7, Command.stmtClose, id);
  await capture.command(7, Command.resetConnection, Buffer.alloc(0));
  await capture.query(7, 'SELECT @n');
  await capture.command(7, Command.ping, Buffer.alloc(0));
  await capture.end();
}

test('a capture replayed on an equal server gives equal results', async () => {
  // One session reads what another one writes later: on a busy machine they must not come closer than a round trip.
  const capture = new HandWrittenCapture(targetAt(a.port), 20_000);
  await work(capture);
  const { totals, replay, reported } = await replayTo(b, capture);
  expect(replay.cutOff).toBe('');
  expect(reported.filter((command) => command.then === undefined)).toEqual([]);
  expect(totals).toEqual({ commands: totals.commands, equal: totals.commands - 2, sameError: 2, otherOrder: 0, different: 0, otherError: 0, newError: 0, errorGone: 0, notCompared: 0, skipped: {} });
  expect(totals.commands).toBe(capture.came.length);
  expect(await b.sql('SELECT name FROM shop.items WHERE id = 5')).toBe('x\n');
  expect(replay.connectionsOpen).toBe(0);
  expect(await b.sql('SELECT COUNT(*) FROM shop.notes')).toBe('1\n');
});

test('statement ids of then stand for those of now', async () => {
  const capture = new HandWrittenCapture(targetAt(a.port));
  await capture.command(7, Command.initDb, Buffer.from('shop'));
  await capture.prepare(7, 'SELECT 1');
  const second = await capture.prepare(7, 'SELECT name FROM items WHERE id = ?');
  await capture.execute(7, second, [4]);
  await capture.execute(7, await capture.prepare(7, 'BEGIN'), []);
  await capture.end();
  // The first one was left out, as a statement with a secret is: there the second one has its id.
  const left = capture.written.findIndex(({ command }) => command === Command.stmtPrepare);
  capture.written.splice(left, 1);
  capture.came.splice(left, 1);
  capture.came.forEach((result, index) => (capture.came[index] = { ...result, ordinal: index + 1 }));
  const { totals } = await replayTo(b, capture);
  expect([totals.equal, totals.commands]).toEqual([5, 5]);
});

test('files that say no ids count them; an execution may bring its text', async () => {
  const capture = new HandWrittenCapture(targetAt(a.port));
  await capture.query(7, 'USE shop');
  const statement = await capture.prepare(7, 'SELECT name FROM items WHERE id = ?');
  await capture.execute(7, statement, [4]);
  // A connection of MariaDB may count on where another one has ended; TiDB, of which such files are, begins with 1.
  Buffer.from(capture.written.at(-1)!.payload.buffer, capture.written.at(-1)!.payload.byteOffset).writeUInt32LE(1);
  const withoutIds = capture.written.map(({ capturedStatementId: _, ...record }) => record);
  await capture.execute(8, await capture.prepare(8, 'SELECT COUNT(*) FROM shop.items WHERE id < ?'), [50]);
  await capture.end();
  const { capturedStatementId, ...last } = capture.written.findLast(({ command }) => command === Command.stmtExecute)!;
  const records = [...withoutIds, { ...last, capturedStatementId: capturedStatementId!, preparedText: Buffer.from('SELECT COUNT(*) FROM shop.items WHERE id < ?') }];
  const results = capture.came.filter(({ connectionId, ordinal }) => connectionId === 7 || ordinal === 2).map((result) => (result.connectionId === 8 ? { ...result, ordinal: 1 } : result));
  const source = {
    hasResults: true,
    async *records() {
      yield* records;
    },
    async *results() {
      yield* results;
    },
  };
  const { totals } = await replayTo(b, source);
  expect(totals).toMatchObject({ equal: 4, commands: 4 });
});

test('what differs is found: a row, an order, an error, a mode', async () => {
  const capture = new HandWrittenCapture(targetAt(a.port));
  await capture.query(7, 'USE shop');
  await capture.query(7, 'SELECT * FROM items WHERE id = 9');
  await capture.query(7, 'SELECT id FROM items ORDER BY price');
  await capture.query(7, 'SELECT COUNT(*) FROM notes');
  await capture.query(7, "SELECT 'a' || 'b'");
  await capture.query(7, 'SELECT id FROM items WHERE price < 100');
  await capture.end();
  await b.sql("UPDATE shop.items SET name = 'changed' WHERE id = 9; UPDATE shop.items SET price = 5000 WHERE id = 50; DROP TABLE shop.notes; SET GLOBAL sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')");
  const { totals, reported } = await replayTo(b, capture);
  await b.sql('SET GLOBAL sql_mode = DEFAULT');
  expect(totals).toMatchObject({ equal: 3, otherOrder: 1, different: 2, newError: 1, commands: 6 });
  expect(reported.find(({ now }) => now?.errorCode === 1146)?.text).toBe('select count ( * ) from notes');
});

test('a read-only replay sends nothing that writes, and leaves the server as it is', async () => {
  const capture = new HandWrittenCapture(targetAt(a.port));
  await work(capture);
  const before = await b.sql('CHECKSUM TABLE shop.items, shop.notes');
  const { totals, reported } = await replayTo(b, capture, { readOnly: true });
  expect(await b.sql('CHECKSUM TABLE shop.items, shop.notes')).toBe(before);
  expect(totals.skipped).toEqual({ 'read-only': 5 });
  expect(reported.filter(({ skipped }) => skipped !== undefined).map(({ text }) => text)).toEqual(expect.arrayContaining(['insert into notes ( body ) values ( ? )', 'update items set price = price + ? where id <= ?']));
  expect(totals.equal).toBeGreaterThan(40);
});

test('filters leave out users, commands and digests, and keep what sessions need', async () => {
  const capture = new HandWrittenCapture(targetAt(a.port));
  await work(capture);
  const users = await replayTo(b, capture, { filters: { users: new Set(['nobody']), commands: new Set(), digests: new Set() } });
  expect(users.totals.skipped['filtered']).toBe(users.totals.commands);
  expect(users.replay.counts.sent).toBe(0);
  await b.sql(schema);
  const commands = await replayTo(b, capture, { filters: { users: new Set(), commands: new Set(['stmtexecute']), digests: new Set() } });
  expect(commands.totals.different + commands.totals.newError).toBe(0);
  const digest = commands.reported.find(({ text }) => text.startsWith('select name'))!.digest;
  const digests = await replayTo(b, capture, { filters: { users: new Set(), commands: new Set(), digests: new Set([digest]) } });
  expect(digests.reported.filter(({ digest: one, now }) => one === digest && now !== undefined)).toHaveLength(20);
  expect(digests.totals.different + digests.totals.newError).toBe(0);
  // What only keeps the state of the sessions is not in the report.
  expect(digests.totals.commands - digests.totals.skipped['filtered']!).toBe(20);
});

test('times between commands are kept, at the speed that is asked for', async () => {
  const capture = new HandWrittenCapture(targetAt(a.port), 20_000);
  for (let n = 0; n < 100; n++) await capture.query(7 + (n % 5), `SELECT ${n}`);
  await capture.end();
  const begun = performance.now();
  const { replay } = await replayTo(b, capture, { speed: 4 });
  const plannedMs = (capture.written.at(-1)!.timeUs - capture.written[0]!.timeUs) / 1_000 / 4;
  expect(performance.now() - begun).toBeGreaterThanOrEqual(plannedMs);
  expect(replay.pace.lagMaxMs).toBeLessThan(5_000);
});

test('behind a damaged place nothing is compared with the result of something else', async () => {
  const capture = new HandWrittenCapture(targetAt(a.port));
  for (let n = 0; n < 4; n++) await capture.query(7, `SELECT ${n}`);
  let running: TrafficReplay | undefined;
  const source = {
    hasResults: true,
    results: () => capture.results(),
    async *records() {
      yield capture.written[0]!;
      running!.damaged();
      yield* capture.written.slice(2);
    },
  };
  const { totals } = await replayTo(b, source, {}, (begun) => (running = begun));
  expect(totals).toMatchObject({ commands: 3, different: 0, equal: 0, notCompared: 3 });
});

test('what was left out of damaged files, and a missing part, are in the report, and damage is no pass', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-traffic-'));
  try {
    const record = (second: number, length: number | string): string => `# Time: 2026-11-21T09:05:0${second}Z\n# Conn_ID: 7\n# Payload_len: ${length}\nselect 1\n`;
    writeFileSync(join(folder, 'traffic-1.log'), `${record(1, 8)}${record(2, 'x')}${record(3, 8)}`);
    writeFileSync(join(folder, 'traffic.log.old'), '');
    writeFileSync(join(folder, 'meta'), JSON.stringify({ Version: 'v1', Binnacle: { complete: true, state: 'done', part: { job: 'j', node: 'a', nodes: ['a', 'b'], worker: 0, workers: [0] } } }));
    const order: ReplayOrder = {
      input: folder, store: { attemptTimeoutMs: 1_000, timeoutMs: 1_000, connectionsMax: 1 } as ReplayOrder['store'], keyFile: '', target: { host: '127.0.0.1', port: b.port, tls: false },
      username: 'root', password: 'root', speed: 10, readOnly: false, ignoreErrors: true, filters: { users: [], commands: [], digests: [] },
    };
    const { totals, warnings, capture } = await runReplay(order, { progress: () => {}, signal: new AbortController().signal });
    expect(totals).toMatchObject({ commands: 3, notCompared: 2, skipped: { damaged: 1 } });
    expect(warnings).toEqual([expect.stringContaining('traffic.log.old is not read'), expect.stringContaining('Payload_len')]);
    expect(capture.cutOff).toMatch(/^parts of the capture are not there: proxy node b; 1 damaged place of/);
    expect(capture.incompleteParts).toBe(1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a replay can be stopped, and says so', async () => {
  const capture = new HandWrittenCapture(targetAt(a.port), 60_000_000);
  for (let n = 0; n < 3; n++) await capture.query(7, 'SELECT 1');
  const stop = new AbortController();
  const { replay } = await replayTo(b, capture, { speed: 1, signal: stop.signal, report: () => stop.abort(new Error('canceled')) });
  expect(replay.cutOff).toBe('canceled');
  expect(replay.counts.sent).toBe(1);
  expect(replay.connectionsOpen).toBe(0);
});

test('a lost connection is made again where its session had no state, and is over otherwise', async () => {
  const capture = new HandWrittenCapture(targetAt(a.port));
  for (const connection of [7, 8]) await capture.command(connection, Command.initDb, Buffer.from('shop'));
  await capture.query(8, 'SET @n = 1');
  const before = capture.written.length;
  for (const connection of [7, 8]) await capture.query(connection, 'SELECT COUNT(*) FROM items');
  await capture.command(8, Command.resetConnection, Buffer.alloc(0));
  await capture.query(8, 'SELECT 1');
  await capture.end();
  let running: TrafficReplay | undefined;
  const source = {
    hasResults: true,
    results: () => capture.results(),
    async *records() {
      yield* capture.written.slice(0, before);
      await waitUntil(() => running!.counts.sent === before, { what: 'the sessions have their state' });
      const threads = await b.sql("SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist WHERE db = 'shop'");
      await b.sql(threads);
      await waitUntil(() => running!.connectionsOpen === 0, { what: 'both connections are lost' });
      yield* capture.written.slice(before);
    },
  };
  const { replay, totals, reported } = await replayTo(b, source, {}, (begun) => (running = begun));
  expect(replay.cutOff).toBe('');
  expect(totals).toMatchObject({ equal: 6, skipped: { 'connection-lost': 1 } });
  expect(reported.find(({ skipped }) => skipped !== undefined)?.text).toBe('select count ( * ) from items');
});

test('more connections at once than are allowed end the replay with a clear reason', async () => {
  const capture = new HandWrittenCapture(targetAt(a.port));
  for (let connection = 1; connection <= 4; connection++) await capture.query(connection, 'SELECT 1');
  await capture.end();
  const { replay } = await replayTo(b, { ...capture, hasResults: true, records: () => capture.records(), results: () => capture.results() }, { connectionsMax: 2, speed: 10 });
  expect(replay.cutOff).toMatch(/more than 2 connections at once/);
});

test('a session that lags holds the reader back, and nothing is lost', async () => {
  const capture = new HandWrittenCapture(targetAt(a.port), 10);
  await capture.query(7, 'SELECT SLEEP(0.3)');
  for (let n = 0; n < 300; n++) await capture.query(7 + (n % 2), `SELECT ${n}`);
  await capture.end();
  const { replay, totals } = await replayTo(b, capture, { waitingMax: 16 });
  expect(totals).toMatchObject({ commands: 301, equal: 301 });
  expect(replay.pace.lagMaxMs).toBeGreaterThan(200);
});
