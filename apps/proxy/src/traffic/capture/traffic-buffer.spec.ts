import { Command } from '@binnacle/mysql-wire/command';
import { expect, test } from '@jest/globals';
import { RecordDecoder } from '../files/record-decoder.js';
import { ResultDecoder, resultsHeader } from '../files/results-file.js';
import { RowChecksum } from './row-checksum.js';
import { TrafficBuffer } from './traffic-buffer.js';

const head = { timeUs: 1_700_000_000_000_000, connectionId: 5, command: Command.query as number, capturedStatementId: 0 };

test('chunks consist of whole records, whatever their length', () => {
  const chunks: { bytes: Buffer; records: number }[] = [];
  const buffer = new TrafficBuffer({ writeRecords: (bytes, records) => chunks.push({ bytes, records }) > 0, writeResults: () => true }, () => {});
  const lengths = [0, 1, 47, 48, 49, 1_000, 200_000, 70_000, 262_144, 3_000_000, 12];
  const payload = Buffer.from(Array.from({ length: 3_000_010 }, (_, index) => index % 251));
  for (const length of lengths) buffer.record(head, payload, 10, 10 + length);
  buffer.flush();
  expect(buffer.bufferedBytes).toBe(0);
  expect(buffer.commands).toBe(lengths.length);
  const found: number[] = [];
  for (const { bytes, records } of chunks) {
    const decoder = new RecordDecoder({ file: 'f' });
    decoder.write(bytes);
    for (let left = records; left > 0; left--) {
      const record = decoder.next()!;
      found.push(record.payload.length);
      expect(Buffer.compare(record.payload, payload.subarray(10, 10 + record.payload.length))).toBe(0);
    }
    expect(decoder.next()).toBeUndefined();
  }
  expect(found).toEqual(lengths);
  expect(chunks.length).toBeLessThan(7);
});

test('results are as they were seen', () => {
  const chunks: Buffer[] = [];
  const buffer = new TrafficBuffer({ writeRecords: () => true, writeResults: (bytes) => chunks.push(bytes) > 0 }, () => {});
  const checksum = new RowChecksum();
  const see = (): void => {
    checksum.begin(2);
    checksum.row(Buffer.from('some row'), 0, 8);
    checksum.rowEnd();
  };
  const figures = { connectionId: 5, ordinal: 3, latencyUs: 450, errorCode: 0, rows: 1, affectedRows: 2 ** 33 };
  see();
  const expected = checksum.end();
  for (let count = 0; count < 2_000; count++) {
    see();
    buffer.result(1_700_000_000_000_007, figures, checksum);
    checksum.reset();
  }
  buffer.flush();
  const decoder = new ResultDecoder('r', 0);
  decoder.write(Buffer.concat([resultsHeader, ...chunks]));
  for (let count = 0; count < 2_000; count++) expect(decoder.next()).toEqual({ ...figures, ...expected, source: 0, endTimeUs: 1_700_000_000_000_007 });
  expect(decoder.next()).toBeUndefined();
});

test('who takes nothing more is asked no more', () => {
  let asked = 0;
  let refused = 0;
  const buffer = new TrafficBuffer({ writeRecords: () => ++asked < 2, writeResults: () => true }, () => refused++);
  for (let count = 0; count < 5; count++) {
    buffer.record(head, Buffer.from('text'), 0, 4);
    buffer.flush();
  }
  expect([asked, refused, buffer.bufferedBytes]).toEqual([2, 1, 0]);
});
