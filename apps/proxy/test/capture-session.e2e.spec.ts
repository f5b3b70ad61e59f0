import { Command } from '@binnacle/mysql-wire/command';
import { column, ok } from '@binnacle/testing/peer-packets';
import { expect, test } from '@jest/globals';
import { CaptureLog } from '../src/traffic/capture/capture-log.js';
import { CaptureTap } from '../src/traffic/capture/capture-tap.js';
import { TrafficBuffer } from '../src/traffic/capture/traffic-buffer.js';
import { RecordDecoder } from '../src/traffic/files/record-decoder.js';
import type { ReadRecord } from '../src/traffic/files/record.js';
import { ResultDecoder, resultsHeader } from '../src/traffic/files/results-file.js';
import { bareSessions, classic, modern, Received, type BareSession } from './bare-session.js';
import { shown } from './captured.js';
import { command, packets, prepared, query, result, u32 } from './packet-texts.js';

const session = bareSessions();
const always = (): boolean => true;
const okPacket = packets([ok(2)]);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A capture of this session in memory. */
function tapped(bare: BareSession, opened = true) {
  const records = new RecordDecoder({ file: 'records' });
  const results = new ResultDecoder('results', 0);
  results.write(resultsHeader);
  const writeRecords = (chunk: Buffer): boolean => (records.write(chunk), true);
  const writeResults = (chunk: Buffer): boolean => (results.write(chunk), true);
  const log = new CaptureLog(new TrafficBuffer({ writeRecords, writeResults }, () => {}), 0);
  const tap = new CaptureTap(bare.session, log, opened, false);
  bare.session.witness.tap = tap;
  const all = <Each>(next: () => Each | undefined): Each[] => {
    log.buffer.flush();
    const found: Each[] = [];
    for (let each = next(); each !== undefined; each = next()) found.push(each);
    return found;
  };
  return { tap, log, records: () => all(() => records.next()).map((record) => shown(record as ReadRecord)), results: () => all(() => results.next()).map(({ ordinal, rows, errorCode }) => [ordinal, rows, errorCode]) };
}

for (const [what, client, bytewise] of [['as they are', modern, false], ['as they are, byte by byte', modern, true], ['translated', classic, false], ['translated, byte by byte', classic, true]] as const) {
  test(`a move in the middle is nothing that a capture shows, ${what}`, async () => {
    const { bare, atServer } = await session(client);
    const { records, results, log } = tapped(bare);
    const write = async (socket: { write(bytes: Buffer): unknown }, bytes: Buffer): Promise<void> => {
      if (!bytewise) return void socket.write(bytes);
      for (const byte of bytes) {
        socket.write(Buffer.from([byte]));
        await turn();
      }
    };
    const idle = async (commands: number): Promise<void> => {
      while (bare.session.commandsTotal < commands || bare.session.phase !== 'idle') await turn();
    };
    const execute = (id: number): Buffer => command(Command.stmtExecute, u32(id), Buffer.from([0, 1, 0, 0, 0]));
    const answer = (id: number): Buffer => packets([prepared(id, 1, 0), column('a')]);
    await write(bare.client, command(Command.stmtPrepare, 'SELECT 1'));
    await atServer.exactly(command(Command.stmtPrepare, 'SELECT 1'));
    await write(bare.server, answer(3));
    await idle(1);
    await bare.session.hold(1_000, always);
    const next = await bare.backend();
    const atNext = new Received(next.server);
    bare.session.swap(next.connection, new Map([[3, 900]]));
    await write(bare.client, execute(3));
    await atNext.exactly(execute(900));
    await write(next.server, packets(result));
    await idle(2);
    // The server counts anew; what the client is told is what is captured. Two are on their way at once, and what is executed before its id is known.
    await write(bare.client, Buffer.concat([command(Command.stmtPrepare, 'SELECT 2'), execute(0xff_ff_ff_ff), query('SELECT 3'), command(Command.stmtClose, u32(3))]));
    await atNext.exactly(Buffer.concat([command(Command.stmtPrepare, 'SELECT 2'), execute(0xff_ff_ff_ff), query('SELECT 3'), command(Command.stmtClose, u32(900))]));
    await write(next.server, Buffer.concat([answer(3), packets(result), okPacket]));
    await idle(6);
    const own = 0x40_00_00_00;
    const executed = (id: number): string => `${u32(id).toString('hex')}0001000000`;
    expect(records()).toEqual([
      'InitDB test', 'StmtPrepare 3 SELECT 1', `StmtExecute 3 ${executed(3)}`, `StmtPrepare ${own} SELECT 2`, `StmtExecute ${own} ${executed(0xff_ff_ff_ff)}`, 'Query SELECT 3', `StmtClose 3 ${u32(3).toString('hex')}`,
    ]);
    expect(results()).toEqual([[2, 0, 0], [3, 1, 0], [4, 0, 0], [5, 1, 0], [6, 0, 0]]);
    expect(log.buffer.bufferedBytes).toBe(0);
    expect([log.leftOut, log.incomplete]).toEqual([{}, {}]);
  });
}

test('begins with the first command that comes whole after its start, and ends without a trace', async () => {
  const { bare, fromSession, atServer } = await session();
  bare.client.write(query('SELECT 1').subarray(0, 8));
  while (bare.session.client.channel.bytesRead < 8) await turn();
  const { tap, records, results } = tapped(bare, false);
  bare.client.write(query('SELECT 1').subarray(8));
  await atServer.exactly(query('SELECT 1'));
  bare.server.write(packets(result));
  await fromSession.exactly(packets(result));
  expect(records()).toEqual([]);
  bare.client.write(query('SELECT 2'));
  await atServer.exactly(query('SELECT 2'));
  bare.server.write(packets(result).subarray(0, 20));
  await fromSession.exactly(packets(result).subarray(0, 20));
  tap.end();
  bare.server.write(packets(result).subarray(20));
  await fromSession.exactly(packets(result).subarray(20));
  bare.client.write(query('SELECT 3'));
  await atServer.exactly(query('SELECT 3'));
  bare.server.write(packets(result));
  await fromSession.exactly(packets(result));
  expect(records()).toEqual(['InitDB test', 'Query SELECT 2']);
  expect(results()).toEqual([]);
});

test('a statement that an unknown command may have changed the reading of is left out where it may hold a secret', async () => {
  const { bare, atServer, fromSession } = await session();
  const { records, log } = tapped(bare);
  const both = Buffer.concat([query("SET sql_mode='ANSI_QUOTES'"), query("SELECT 'user'"), query("SELECT 'x'")]);
  bare.client.write(both);
  await atServer.exactly(both);
  bare.server.write(Buffer.concat([okPacket, packets(result), packets(result)]));
  await fromSession.exactly(Buffer.concat([okPacket, packets(result), packets(result)]));
  expect(records()).toEqual(['InitDB test', "Query SET sql_mode='ANSI_QUOTES'", "Query SELECT 'x'"]);
  expect(log.leftOut).toEqual({ doubtful: 1 });
});
