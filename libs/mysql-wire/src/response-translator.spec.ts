import { expect, test } from '@jest/globals';
import { randomChunks, seededRandom } from '@binnacle/testing/seeded-random';
import { Capability, MariadbCapability, type Capabilities } from './capabilities.js';
import { Command } from './command.js';
import { encodeErr } from './err-packet.js';
import { Errors } from './error-codes.js';
import { decodeOk, encodeEof, encodeOk } from './ok-packet.js';
import { framePayload } from './packet-header.js';
import { PacketWriter } from './packet-writer.js';
import { ResponseEvent } from './response-tracker.js';
import { needsTranslation, ResponseTranslator } from './response-translator.js';
import { StatusFlag } from './status-flags.js';

const base = Capability.protocol41;
const tracking: Capabilities = { capabilities: base | Capability.deprecateEof | Capability.sessionTrack, mariadbCapabilities: 0 };
const modern: Capabilities = { capabilities: base | Capability.deprecateEof, mariadbCapabilities: 0 };
const classic: Capabilities = { capabilities: base, mariadbCapabilities: 0 };

const one = Buffer.from([1]);
const definition = Buffer.from('\x03def\x00\x00\x00\x01a\x00\x0c!\x00\x04\x00\x00\x00\xfd\x00\x00\x00\x00\x00', 'latin1');
const row = Buffer.from('\x04some');
const eof = (statusFlags = 2): Buffer => encodeEof(statusFlags, 0);
const rowsEnd = (statusFlags = 2): Buffer => encodeOk({ header: 0xfe, statusFlags }, base);
const ok = (statusFlags = 2): Buffer => encodeOk({ statusFlags }, base);
const gone = encodeErr(Errors.queryInterrupted, 'interrupted');
const changes = Buffer.from([1, 5, 4, ...Buffer.from('shop')]);
const tracked = encodeOk({ statusFlags: 2, affectedRows: 3n, info: Buffer.from('Rows: 3') }, tracking.capabilities, changes);
const prepareOk = (columns: number, parameters: number): Buffer => new PacketWriter().u8(0).u32(7).u16(columns).u16(parameters).u8(0).u16(0).finish();
const frames = (payloads: readonly Buffer[], first = 1): Buffer => Buffer.concat(payloads.map((payload, index) => framePayload(payload, first + index)));

function translate(backend: Capabilities, client: Capabilities, command: number, payloads: readonly Buffer[]): Buffer {
  const outputs = [64_000, 1, 9].map((bytesMax) => {
    const translator = new ResponseTranslator(backend, client);
    translator.expect(command);
    const output: Buffer[] = [];
    for (const chunk of randomChunks(frames(payloads), seededRandom(bytesMax), bytesMax)) {
      translator.feed(Buffer.from(chunk));
      while (translator.next() !== ResponseEvent.none);
      output.push(...translator.take());
    }
    expect(translator.tracker.idle).toBe(true);
    return Buffer.concat(output);
  });
  for (const output of outputs) expect(output.toString('hex')).toBe(outputs[0]!.toString('hex'));
  return outputs[0]!;
}

/** The same response as both kinds of server say it. */
const pairs: [string, number, modern: Buffer[], classic: Buffer[]][] = [
  ['rows', Command.query, [one, definition, row, row, rowsEnd(3)], [one, definition, eof(), row, row, eof(3)]],
  ['no rows', Command.query, [one, definition, rowsEnd(2)], [one, definition, eof(), eof(2)]],
  ['no result', Command.query, [ok(3)], [ok(3)]],
  ['an error between rows', Command.query, [one, definition, row, gone], [one, definition, eof(), row, gone]],
  ['an error at once', Command.query, [gone], [gone]],
  ['several results', Command.query, [one, definition, row, rowsEnd(10), one, definition, rowsEnd(10), ok(2)], [one, definition, eof(), row, eof(10), one, definition, eof(), eof(10), ok(2)]],
  ['a cursor', Command.stmtExecute, [one, definition, rowsEnd(66)], [one, definition, eof(66)]],
  ['rows of a cursor', Command.stmtFetch, [row, rowsEnd(130)], [row, eof(130)]],
  ['a prepared statement', Command.stmtPrepare, [prepareOk(2, 1), definition, definition, definition], [prepareOk(2, 1), definition, eof(), definition, definition, eof()]],
  ['a prepared statement without columns', Command.stmtPrepare, [prepareOk(0, 1), definition], [prepareOk(0, 1), definition, eof()]],
  ['a prepared statement without parameters', Command.stmtPrepare, [prepareOk(1, 0), definition], [prepareOk(1, 0), definition, eof()]],
  ['a prepared statement without either', Command.stmtPrepare, [prepareOk(0, 0)], [prepareOk(0, 0)]],
  ['a list of fields', Command.fieldList, [definition, definition, rowsEnd()], [definition, definition, eof()]],
  ['an option', Command.setOption, [rowsEnd()], [eof()]],
  ['statistics', Command.statistics, [Buffer.from('Uptime')], [Buffer.from('Uptime')]],
];

for (const [what, command, withOk, withEof] of pairs) {
  test(`${what}: for a client without DEPRECATE_EOF, and the other way round`, () => {
    expect(translate(modern, classic, command, withOk).toString('hex')).toBe(frames(withEof).toString('hex'));
    expect(translate(classic, modern, command, withEof).toString('hex')).toBe(frames(withOk).toString('hex'));
  });
}

test('the EOF behind definitions is there too where the client remembers the definitions', () => {
  const remembering = (capabilities: Capabilities): Capabilities => ({ ...capabilities, mariadbCapabilities: MariadbCapability.cacheMetadata });
  const count = Buffer.from([1, 0]);
  const withOk = [count, row, row, rowsEnd()];
  const withEof = [count, eof(), row, row, eof()];
  expect(translate(remembering(modern), remembering(classic), Command.stmtExecute, withOk)).toEqual(frames(withEof));
  expect(translate(remembering(classic), remembering(modern), Command.stmtExecute, withEof)).toEqual(frames(withOk));
  expect(translate(remembering(modern), remembering(classic), Command.stmtExecute, [count, rowsEnd()])).toEqual(frames([count, eof(), eof()]));
});

test('a prepared statement can be given another id, in whatever pieces its answer comes', () => {
  for (const bytesMax of [1, 5, 64_000]) {
    const translator = new ResponseTranslator(modern, classic);
    translator.expect(Command.stmtPrepare);
    const output: Buffer[] = [];
    for (const chunk of randomChunks(frames([prepareOk(1, 0), definition]), seededRandom(bytesMax), bytesMax)) {
      translator.feed(Buffer.from(chunk));
      for (let event = translator.next(); event !== ResponseEvent.none; event = translator.next()) {
        if (event === ResponseEvent.prepared) translator.replaceStatementId(0x40_00_00_00);
      }
      output.push(...translator.take());
    }
    const renamed = prepareOk(1, 0);
    renamed.writeUInt32LE(0x40_00_00_00, 1);
    expect(Buffer.concat(output)).toEqual(frames([renamed, definition, eof()]));
    expect(() => translator.replaceStatementId(1)).toThrow('no statement');
  }
});

test('it is known whether what the client got ends with a packet', () => {
  const translator = new ResponseTranslator(modern, classic);
  translator.expect(Command.query);
  const stream = frames([one, definition, row, rowsEnd()]);
  let given = 0;
  for (const byte of stream) {
    translator.feed(Buffer.from([byte]));
    while (translator.next() !== ResponseEvent.none);
    given += translator.take().reduce((bytes, piece) => bytes + piece.length, 0);
    const ends = [0, 5, 5 + 4 + definition.length, 5 + 4 + definition.length + 9, 5 + 4 + definition.length + 9 + 4 + row.length];
    expect(translator.betweenPackets).toBe(ends.includes(given) || translator.tracker.idle);
  }
});

test('a client without SESSION_TRACK gets OK packets without changes, with their info', () => {
  expect(tracked.length).toBeGreaterThan(20);
  const output = translate(tracking, classic, Command.query, [tracked]);
  expect(decodeOk(output.subarray(4), classic.capabilities)).toEqual({
    header: 0, affectedRows: 3n, lastInsertId: 0n, statusFlags: 2, warnings: 0, info: Buffer.from('Rows: 3'), changes: [],
  });
  const trackedEnd = encodeOk({ header: 0xfe, statusFlags: 2 }, tracking.capabilities, changes);
  expect(translate(tracking, classic, Command.query, [one, definition, row, trackedEnd])).toEqual(frames([one, definition, eof(), row, eof()]));
  expect(translate(tracking, modern, Command.query, [one, definition, row, trackedEnd])).toEqual(frames([one, definition, row, rowsEnd()]));
});

test('a client with SESSION_TRACK keeps the changes', () => {
  const old: Capabilities = { capabilities: base | Capability.sessionTrack, mariadbCapabilities: 0 };
  const output = translate(tracking, old, Command.query, [tracked]);
  expect(decodeOk(output.subarray(4), old.capabilities).changes).toEqual([{ kind: 'schema', name: 'shop' }]);
  expect(decodeOk(output.subarray(4), old.capabilities).statusFlags & StatusFlag.sessionStateChanged).not.toBe(0);
});

test('rows of 16 MB keep their frames in order', () => {
  const large = new PacketWriter().lenencBytes(Buffer.alloc(0x1_00_00_10)).finish();
  const stream = (payloads: [Buffer, number][]): Buffer => Buffer.concat(payloads.map(([payload, id]) => framePayload(payload, id)));
  const translator = new ResponseTranslator(modern, classic);
  translator.expect(Command.query);
  const output: Buffer[] = [];
  const input = stream([[one, 1], [definition, 2], [large, 3], [rowsEnd(), 5]]);
  for (const chunk of randomChunks(input, seededRandom(4), 300_000)) {
    translator.feed(Buffer.from(chunk));
    while (translator.next() !== ResponseEvent.none);
    output.push(...translator.take());
  }
  expect(Buffer.concat(output).equals(stream([[one, 1], [definition, 2], [eof(), 3], [large, 4], [eof(), 6]]))).toBe(true);
});

test('translation is needed only where the two differ', () => {
  expect([needsTranslation(tracking, tracking), needsTranslation(modern, tracking), needsTranslation(tracking, modern), needsTranslation(modern, classic)]).toEqual([
    false, false, true, true,
  ]);
});
