import { expect, test } from '@jest/globals';
import { Capability } from './capabilities.js';
import { decodeErr, encodeErr, errCode } from './err-packet.js';
import { Errors } from './error-codes.js';
import { decodeOk, decodeOkHead, encodeEof, encodeOk, rawSessionChanges, statusAndWarnings } from './ok-packet.js';
import { PacketWriter } from './packet-writer.js';
import { parseTransactionState } from './session-changes.js';
import { StatusFlag } from './status-flags.js';

const tracking = Capability.sessionTrack;
const entry = (type: number, body: PacketWriter): Buffer => new PacketWriter().u8(type).lenencBytes(body.finish()).finish();
const changes = Buffer.concat([
  entry(0, new PacketWriter().lenencString('autocommit').lenencString('OFF').lenencString('time_zone').lenencString('UTC')),
  entry(1, new PacketWriter().lenencString('shop')),
  entry(2, new PacketWriter().lenencString('1')),
  entry(2, new PacketWriter().string('1')),
  entry(3, new PacketWriter().u8(0).lenencString('0-1-100')),
  entry(4, new PacketWriter().lenencString('START TRANSACTION;')),
  entry(5, new PacketWriter().lenencString('T_R_____')),
  entry(77, new PacketWriter().string('new')),
]);

test('every kind of session change is read, those of both servers', () => {
  const packet = encodeOk({ affectedRows: 300n, lastInsertId: 2n ** 63n, warnings: 4, info: Buffer.from('Rows') }, tracking, changes);
  expect(decodeOk(packet, tracking)).toEqual({
    header: 0, affectedRows: 300n, lastInsertId: 2n ** 63n, statusFlags: StatusFlag.autocommit | StatusFlag.sessionStateChanged, warnings: 4, info: Buffer.from('Rows'),
    changes: [
      { kind: 'systemVariable', name: 'autocommit', value: 'OFF' },
      { kind: 'systemVariable', name: 'time_zone', value: 'UTC' },
      { kind: 'schema', name: 'shop' },
      { kind: 'state', changed: true },
      { kind: 'state', changed: true },
      { kind: 'gtids', encoding: 0, gtids: '0-1-100' },
      { kind: 'transactionCharacteristics', statements: 'START TRANSACTION;' },
      { kind: 'transactionState', state: 'T_R_____' },
      { kind: 'unknown', type: 77, data: Buffer.from('new') },
    ],
  });
  expect(rawSessionChanges(packet)).toEqual(changes);
  expect(decodeOkHead(packet.subarray(0, 30)).info).toEqual(Buffer.from('Rows'));
});

test('status and warnings are read from OK and EOF alike', () => {
  expect(statusAndWarnings(encodeEof(0x8022, 7), 0, 5)).toBe(7 * 65_536 + 0x8022);
  const ok = encodeOk({ affectedRows: 2n ** 40n, lastInsertId: 70_000n, statusFlags: 3, warnings: 9 }, 0);
  expect(statusAndWarnings(ok, 0, ok.length)).toBe(9 * 65_536 + 3);
  for (let length = 0; length < ok.length; length++) expect(statusAndWarnings(ok, 0, length)).toBeNaN();
});

test('the info has its length before it, with SESSION_TRACK or without', () => {
  for (const capabilities of [0, tracking]) {
    const packet = encodeOk({ info: Buffer.from('Records: 3') }, capabilities);
    expect(packet.toString('latin1')).toMatch(/\nRecords: 3$/);
    expect(decodeOk(packet, capabilities).info).toEqual(Buffer.from('Records: 3'));
  }
});

test('errors come out as they went in, with and without their state', () => {
  const packet = encodeErr(Errors.tooManyConnections, 'Too many connections');
  expect(decodeErr(packet)).toEqual({ code: 1040, sqlState: '08004', message: 'Too many connections' });
  expect(decodeErr(encodeErr(Errors.tooManyConnections, 'Too many', false))).toEqual({ code: 1040, sqlState: '', message: 'Too many' });
  expect([errCode(packet, 0, packet.length), errCode(packet, 0, 2)]).toEqual([1040, -1]);
  for (const { sqlState } of Object.values(Errors)) expect(sqlState).toMatch(/^[0-9A-Z]{5}$/);
});

test('what a transaction state means', () => {
  expect(parseTransactionState('________')?.transaction).toBe('none');
  expect(parseTransactionState('T__wWsSL')).toEqual({
    transaction: 'explicit', readsUnsafe: false, readsTransactional: false, writesUnsafe: true, writesTransactional: true, unsafeStatement: true, resultSet: true, lockedTables: true,
  });
  expect(parseTransactionState('x')).toBeUndefined();
});
