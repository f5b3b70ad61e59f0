import { expect, test } from '@jest/globals';
import { encodeResult, resultBytesMax, ResultDecoder, resultsHeader, type TimedResult } from './results-file.js';

const max = Number.MAX_SAFE_INTEGER;
const largest: TimedResult = {
  source: 0, endTimeUs: max, connectionId: max, ordinal: max, latencyUs: max, errorCode: 2 ** 32 - 1, rows: max, affectedRows: max, ordered: '0123456789abcdef',
  unordered: 'fedcba9876543210',
};
const smallest: TimedResult = {
  source: 0, endTimeUs: 1, connectionId: 1, ordinal: 1, latencyUs: 0, errorCode: 0, rows: 0, affectedRows: 0, ordered: '0000000000000000', unordered: '0000000000000000',
};

function line(result: TimedResult): string {
  const target = Buffer.alloc(resultBytesMax);
  return target.toString('latin1', 0, encodeResult(target, 0, result.endTimeUs, result));
}

function decoded(text: string, pieceBytes: number): TimedResult[] {
  const decoder = new ResultDecoder('results-1.log', 0);
  const results: TimedResult[] = [];
  for (let at = 0; at < text.length; at += pieceBytes) {
    decoder.write(Buffer.from(text.slice(at, at + pieceBytes)));
    for (let result = decoder.next(); result !== undefined; result = decoder.next()) results.push(result);
  }
  expect(decoder.end()).toBe(text.length - text.lastIndexOf('\n') - 1);
  return results;
}

test('lines are as documented', () => {
  expect(line(smallest)).toBe('1 1 1 0 0 0 0 - -\n');
  expect(line({ ...largest, unordered: largest.ordered })).toBe(`${max} ${max} ${max} ${max} 4294967295 ${max} ${max} 0123456789abcdef =\n`);
  expect(line(largest).length).toBeLessThanOrEqual(resultBytesMax);
  expect(encodeResult(Buffer.alloc(resultBytesMax), 1, 1, largest)).toBe(-1);
});

test('results are read in pieces of any size; a remark and a cut tail are none', () => {
  const text = `${resultsHeader.toString()}${line(largest)}# remark\n${line(smallest)}1 2 3`;
  for (const pieceBytes of [1, 7, text.length]) expect(decoded(text, pieceBytes)).toEqual([largest, smallest]);
});

test.each([['1 2 3', 'not a result: "1 2 3"'], [`${' '.repeat(5_000)}`, 'a line of more than 4096 bytes'], [line(smallest).replace('1 1', '1  1').trim(), 'not a result']])(
  'what is no result is refused, with its place: %#',
  (text, reason) => {
    expect(() => decoded(`${resultsHeader.toString()}${text}\n`, 100)).toThrow(`results-1.log, byte ${resultsHeader.length}: ${reason}`);
  },
);

test('another kind of file is refused', () => {
  expect(() => decoded('# Time: x\n', 9)).toThrow('results-1.log, byte 0: not a file of results, or of a later format');
});
