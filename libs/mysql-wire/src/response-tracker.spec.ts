import { expect, test } from '@jest/globals';
import { randomChunks, seededRandom } from '@binnacle/testing/seeded-random';
import { Capability } from './capabilities.js';
import { Command } from './command.js';
import { encodeErr } from './err-packet.js';
import { Errors } from './error-codes.js';
import { encodeEof, encodeOk } from './ok-packet.js';
import { framePayload } from './packet-header.js';
import { PacketWriter } from './packet-writer.js';
import { ResponseEvent, ResponseTracker } from './response-tracker.js';
import { StatusFlag } from './status-flags.js';

const classic = { capabilities: Capability.protocol41, mariadbCapabilities: 0 };
const modern = { capabilities: Capability.protocol41 | Capability.deprecateEof, mariadbCapabilities: 0 };

const definition = Buffer.from('\x03def\x00\x00\x00\x01a\x00\x0c!\x00\x04\x00\x00\x00\xfd\x00\x00\x00\x00\x00', 'latin1');
const row = Buffer.from('\x04some');
const ok = (statusFlags = 2): Buffer => encodeOk({ statusFlags }, modern.capabilities);
const rowsEnd = (statusFlags = 2): Buffer => encodeOk({ header: 0xfe, statusFlags }, modern.capabilities);
const gone = encodeErr(Errors.queryInterrupted, 'interrupted');
const named = (event: number): string => Object.entries(ResponseEvent).find(([, code]) => code === event)![0];

const frames = (payloads: readonly Buffer[]): Buffer => Buffer.concat(payloads.map((payload, index) => framePayload(payload, index + 1)));

/** Each event with status flags and error code. */
function follow(tracker: ResponseTracker, chunks: readonly Buffer[]): string[] {
  const events: string[] = [];
  for (const chunk of chunks) {
    tracker.feed(chunk);
    for (let event = tracker.next(); event !== ResponseEvent.none; event = tracker.next()) {
      events.push(`${named(event)} ${tracker.statusFlags} ${tracker.errorCode}`);
    }
  }
  return events;
}

function events(capabilities: typeof classic, command: number, payloads: readonly Buffer[]): string[] {
  const stream = frames(payloads);
  const whole = new ResponseTracker(capabilities);
  whole.expect(command);
  const result = follow(whole, [stream]);
  const pieces = new ResponseTracker(capabilities);
  pieces.expect(command);
  expect(follow(pieces, randomChunks(stream, seededRandom(stream.length)))).toEqual(result);
  expect(pieces.idle).toBe(whole.idle);
  return result;
}

const one = Buffer.from([1]);
const prepareOk = (columns: number, parameters: number): Buffer =>
  new PacketWriter().u8(0).u32(7).u16(columns).u16(parameters).u8(0).u16(0).finish();

test('a result ends with its EOF or OK, whose status counts', () => {
  expect(events(classic, Command.query, [one, definition, encodeEof(2, 0), row, row, encodeEof(3, 0)])).toEqual(['complete 3 0']);
  expect(events(modern, Command.query, [one, definition, row, row, rowsEnd(3)])).toEqual(['complete 3 0']);
  expect(events(modern, Command.query, [one, definition, row, gone])).toEqual(['complete -1 1317']);
  expect(events(modern, Command.query, [ok(3)])).toEqual(['complete 3 0']);
});

test('further results follow while the status says so', () => {
  const more = StatusFlag.moreResultsExist;
  expect(events(modern, Command.query, [one, definition, row, rowsEnd(more | 2), ok(more | 2), one, definition, rowsEnd(2)])).toEqual([
    'result 10 0',
    'result 10 0',
    'complete 2 0',
  ]);
  expect(events(modern, Command.query, [ok(more), gone])).toEqual(['result 8 0', 'complete 8 1317']);
});

test('a cursor without DEPRECATE_EOF has no rows behind its definitions; they come with COM_STMT_FETCH', () => {
  const cursor = StatusFlag.cursorExists | 2;
  expect(events(classic, Command.stmtExecute, [one, definition, encodeEof(cursor, 0)])).toEqual(['complete 66 0']);
  expect(events(modern, Command.stmtExecute, [one, definition, rowsEnd(cursor)])).toEqual(['complete 66 0']);
  expect(events(classic, Command.stmtFetch, [Buffer.from([0, 0, 4]), encodeEof(cursor | 128, 0)])).toEqual(['complete 194 0']);
});

test('a prepared statement is known before its definitions have passed', () => {
  expect(events(modern, Command.stmtPrepare, [prepareOk(0, 0)])).toEqual(['prepared -1 0', 'complete -1 0']);
  expect(events(modern, Command.stmtPrepare, [prepareOk(1, 2), definition, definition, definition])).toEqual(['prepared -1 0', 'complete -1 0']);
  const eof = encodeEof(2, 0);
  expect(events(classic, Command.stmtPrepare, [prepareOk(2, 1), definition, eof, definition, definition, eof])).toEqual(['prepared -1 0', 'complete 2 0']);
  expect(events(classic, Command.stmtPrepare, [prepareOk(0, 1), definition, eof])).toEqual(['prepared -1 0', 'complete 2 0']);
  const tracker = new ResponseTracker(modern);
  tracker.expect(Command.stmtPrepare);
  tracker.feed(frames([prepareOk(0, 0)]));
  expect([tracker.next(), tracker.next(), tracker.statementId, tracker.affectedRows, tracker.insertId]).toEqual([ResponseEvent.prepared, ResponseEvent.complete, 7, 0, 0]);
  tracker.expect(Command.query);
  tracker.feed(frames([encodeOk({ affectedRows: 5n }, modern.capabilities)]));
  expect([tracker.next(), tracker.affectedRows]).toEqual([ResponseEvent.complete, 5]);
  expect(events(classic, Command.stmtPrepare, [gone])).toEqual(['complete -1 1317']);
});

test('a progress report is not the end', () => {
  const progress = new PacketWriter().u8(0xff).u16(0xffff).u8(1).u8(1).u8(2).u24(500).lenencString('copy').finish();
  expect(events(modern, Command.query, [progress, progress, ok()])).toEqual(['complete 2 0']);
});

test('a local file interrupts the response', () => {
  expect(events(modern, Command.query, [Buffer.from('\xfbfile', 'latin1')])).toEqual(['infile -1 0']);
});

test('statistics are one packet of text, a field list is definitions, a binlog ends with EOF', () => {
  expect(events(modern, Command.statistics, [Buffer.from('Uptime: 5')])).toEqual(['complete -1 0']);
  expect(events(classic, Command.fieldList, [definition, definition, encodeEof(2, 0)])).toEqual(['complete 2 0']);
  expect(events(classic, Command.binlogDump, [Buffer.from('\0event'), Buffer.from('\0event'), encodeEof(0, 0)])).toEqual(['complete 0 0']);
});

test('a change of user goes through packets for the client', () => {
  const change = Buffer.from('\xfemysql_native_password\0abc\0', 'latin1');
  expect(events(modern, Command.changeUser, [change, Buffer.from([1, 3]), ok()])).toEqual(['authentication -1 0', 'authentication -1 0', 'complete 2 0']);
});

test('definitions can be left out where that was agreed upon', () => {
  const cached = { ...modern, mariadbCapabilities: 1 << 4 };
  expect(events(cached, Command.stmtExecute, [Buffer.from([3, 0]), row, rowsEnd()])).toEqual(['complete 2 0']);
  expect(events(cached, Command.stmtExecute, [Buffer.from([1, 1]), definition, row, rowsEnd()])).toEqual(['complete 2 0']);
  const optional = { ...modern, capabilities: modern.capabilities | Capability.optionalResultsetMetadata };
  expect(events(optional, Command.query, [Buffer.from([0, 3]), row, rowsEnd()])).toEqual(['complete 2 0']);
  expect(events(optional, Command.query, [Buffer.from([1, 1]), definition, row, rowsEnd()])).toEqual(['complete 2 0']);
  const omitted = Buffer.concat([prepareOk(1, 2), Buffer.from([0])]);
  expect(events(optional, Command.stmtPrepare, [omitted])).toEqual(['prepared -1 0', 'complete -1 0']);
  const optionalClassic = { ...classic, capabilities: classic.capabilities | Capability.optionalResultsetMetadata };
  expect(events(optionalClassic, Command.stmtPrepare, [omitted, encodeEof(2, 0), encodeEof(2, 0)])).toEqual(['prepared -1 0', 'complete 2 0']);
});

test('commands sent before their answers are answered in their order', () => {
  const tracker = new ResponseTracker(modern);
  for (const command of [Command.stmtPrepare, Command.stmtSendLongData, Command.stmtExecute, Command.stmtClose, Command.ping]) tracker.expect(command);
  expect(tracker.commandsPending).toBe(3);
  const stream = [[prepareOk(0, 0)], [one, definition, rowsEnd()], [ok(3)]].map(frames);
  expect(follow(tracker, [Buffer.concat(stream)])).toEqual(['prepared -1 0', 'complete -1 0', 'complete 2 0', 'complete 3 0']);
  expect(tracker.idle).toBe(true);
});

test('commands without answers have a limit', () => {
  const tracker = new ResponseTracker(modern);
  while (!tracker.full) tracker.expect(Command.ping);
  expect(tracker.commandsPending).toBe(1_024);
  expect(() => tracker.expect(Command.ping)).toThrow(RangeError);
});

test('a client that is always ahead of its answers is followed for as long as it likes', () => {
  const tracker = new ResponseTracker(modern);
  tracker.expect(Command.ping);
  for (let answered = 0; answered < 5_000; answered++) {
    tracker.expect(Command.ping);
    expect(follow(tracker, [framePayload(ok(), 1)])).toEqual(['complete 2 0']);
  }
  expect(tracker.commandsPending).toBe(1);
});

test('a server that closes says so without being asked; anything else without a command is malformed', () => {
  expect(follow(new ResponseTracker(modern), [framePayload(encodeErr(Errors.connectionKilled, 'killed'), 0)])).toEqual(['unsolicited -1 1927']);
  expect(() => follow(new ResponseTracker(modern), [framePayload(ok(), 0)])).toThrow('no packet while no command is under way');
});

test('a row whose first column has 16 MB is a row', () => {
  const large = new PacketWriter().lenencBytes(Buffer.alloc(0x1_00_00_10)).finish();
  expect(large[0]).toBe(0xfe);
  const stream = Buffer.concat([frames([one, definition]), framePayload(large, 3), framePayload(rowsEnd(), 5)]);
  const tracker = new ResponseTracker(modern);
  tracker.expect(Command.query);
  expect(follow(tracker, [stream])).toEqual(['complete 2 0']);
});

test('rows that a statement changed are counted, rows that it sent are not; ids of inserts are told', () => {
  for (const [payloads, affected, insertId] of [
    [[encodeOk({ affectedRows: 5n }, modern.capabilities)], 5, 0],
    [[encodeOk({ affectedRows: 300n, lastInsertId: 7n }, modern.capabilities)], 300, 7],
    [[encodeOk({ affectedRows: 70_000n, lastInsertId: 70_000n }, modern.capabilities)], 70_000, 70_000],
    [[encodeOk({ affectedRows: 2n ** 40n, lastInsertId: 300n }, modern.capabilities)], 2 ** 32, 300],
    [[Buffer.from([1]), definition, row, rowsEnd()], 0, 0],
    [[gone], 0, 0],
  ] as const) {
    const tracker = new ResponseTracker(modern);
    tracker.expect(Command.query);
    tracker.feed(frames(payloads));
    expect([tracker.next(), tracker.affectedRows, tracker.insertId]).toEqual([ResponseEvent.complete, affected, insertId]);
  }
});

test('rows of every result are given to who wants them, and nothing else', () => {
  const seen = (capabilities: typeof classic, command: number, payloads: readonly Buffer[], everyPacket: boolean, bytesMax: number): string[] => {
    const tracker = new ResponseTracker(capabilities, { everyPacket });
    const rows: string[] = [];
    let text = '';
    tracker.rows = {
      begin: (columns) => void rows.push(`${columns} columns`),
      row: (chunk, start, end) => void (text += chunk.toString('latin1', start, end)),
      rowEnd: () => {
        rows.push(text);
        text = '';
      },
    };
    tracker.expect(command);
    const stream = frames(payloads);
    follow(tracker, bytesMax === 0 ? [stream] : randomChunks(stream, seededRandom(bytesMax), bytesMax));
    expect(tracker.idle).toBe(true);
    expect(text).toBe('');
    return rows;
  };
  const [two, other, null1] = [Buffer.from([2]), Buffer.from('\x05other'), Buffer.from('\xfb', 'latin1')];
  const cases: [typeof classic, number, Buffer[], string[]][] = [
    [modern, Command.query, [two, definition, definition, row, other, rowsEnd()], ['2 columns', '\x04some', '\x05other']],
    [classic, Command.query, [one, definition, encodeEof(2, 0), row, null1, encodeEof(2, 0)], ['1 columns', '\x04some', '\xfb']],
    [modern, Command.query, [one, definition, row, rowsEnd(10), ok(10), two, definition, definition, rowsEnd()], ['1 columns', '\x04some', '2 columns']],
    [modern, Command.query, [one, definition, row, gone], ['1 columns', '\x04some']],
    [modern, Command.stmtFetch, [row, other, rowsEnd()], ['0 columns', '\x04some', '\x05other']],
    [modern, Command.fieldList, [definition, rowsEnd()], []],
    [modern, Command.stmtPrepare, [prepareOk(1, 1), definition, definition], []],
    [modern, Command.query, [ok()], []],
  ];
  for (const [capabilities, command, payloads, expected] of cases) {
    for (const everyPacket of [false, true]) {
      for (const bytesMax of [0, 3, 12]) expect(seen(capabilities, command, payloads, everyPacket, bytesMax)).toEqual(expected);
    }
  }
});

test('a row of 16 MB and more is one row', () => {
  const tracker = new ResponseTracker(modern);
  let bytes = 0;
  let rows = 0;
  tracker.rows = { begin: () => {}, row: (_chunk, start, end) => void (bytes += end - start), rowEnd: () => void rows++ };
  tracker.expect(Command.query);
  const long = Buffer.alloc(0xff_ff_ff, 1);
  // Its first column begins with 0xFE, as the end of rows does.
  long[0] = 0xfe;
  const stream = Buffer.concat([frames([one, definition]), framePayload(Buffer.concat([long, Buffer.from('rest')]), 3), framePayload(rowsEnd(), 5)]);
  expect(follow(tracker, randomChunks(stream, seededRandom(1), 1_000_000))).toEqual(['complete 2 0']);
  expect([rows, bytes]).toEqual([1, 0xff_ff_ff + 4]);
});
