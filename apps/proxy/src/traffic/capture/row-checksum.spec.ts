import { randomChunks, seededRandom } from '@binnacle/testing/seeded-random';
import { expect, test } from '@jest/globals';
import { RowChecksum, type RowsSeen } from './row-checksum.js';

const of = (sets: readonly (readonly Buffer[])[], pieces: (row: Buffer) => Buffer[] = (row) => [row], columns = 2): RowsSeen => {
  const checksum = new RowChecksum();
  for (const rows of sets) {
    checksum.begin(columns);
    for (const row of rows) {
      for (const piece of pieces(row)) checksum.row(Buffer.concat([Buffer.from('before'), piece, Buffer.from('behind')]), 6, 6 + piece.length);
      checksum.rowEnd();
    }
  }
  return checksum.end();
};
const zeros = '0'.repeat(16);
const texts = (...rows: string[]): Buffer[] => rows.map((row) => Buffer.from(row));

test('is the same in whatever pieces a row comes', () => {
  const random = seededRandom(7);
  for (let round = 0; round < 300; round++) {
    const rows = Array.from({ length: 1 + random.below(3) }, () => random.bytes(random.below(60)));
    expect(of([rows], (row) => randomChunks(row, random, random.oneOf([3, 8, 20])))).toEqual(of([rows]));
  }
});

test('the order of rows counts in one and not in the other', () => {
  const [one, other] = [of([texts('first row', 'second row', 'third')]), of([texts('third', 'first row', 'second row')])];
  expect(one.rows).toBe(3);
  expect(one.unordered).toBe(other.unordered);
  expect(one.ordered).not.toBe(other.ordered);
});

test('every bit of a row, its length, the columns and the result set it is in count', () => {
  const row = Buffer.from('a row that is a little longer than two blocks are');
  const seen = new Set<string>();
  let others = 0;
  const add = ({ rows, ordered, unordered }: RowsSeen): void => {
    seen.add(ordered).add(unordered);
    expect(ordered === unordered).toBe(rows <= 1);
    others += rows <= 1 ? 1 : 2;
  };
  add(of([[row]]));
  for (let bit = 0; bit < row.length * 8; bit++) {
    const changed = Buffer.from(row);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    add(of([[changed]]));
  }
  add(of([[Buffer.concat([row, Buffer.alloc(1)])]]));
  add(of([[row]], undefined, 3));
  add(of([[row], []]));
  add(of([[], [row]]));
  add(of([[row, row]]));
  add(of([[]]));
  add(of([]));
  expect(seen.size).toBe(others);
});

test('checksums of one row in other columns are no sum of each other', () => {
  const pairs = (a: string, b: string): string => of([texts(a, b)]).unordered;
  expect(pairs('1 10', '2 20')).not.toBe(pairs('1 20', '2 10'));
});

test('what is in files of last year stays comparable', () => {
  expect(of([texts('1', 'a longer row of twenty', '')])).toEqual({ rows: 3, ordered: '9c8d82c6037bca65', unordered: '891545ba59d6d28e' });
  expect(of([])).toEqual({ rows: 0, ordered: '0000000000000000', unordered: '0000000000000000' });
});

test('is written as its text says', () => {
  const checksum = new RowChecksum();
  const written = (): string => {
    const target = Buffer.alloc(40);
    const text = target.toString('latin1', 1, checksum.write(target, 1));
    const { ordered, unordered } = checksum.end();
    expect(text).toBe(`${ordered} ${unordered === ordered && ordered !== zeros ? '=' : unordered}`.replaceAll(zeros, '-'));
    return text;
  };
  expect(written()).toBe('- -');
  for (const [rows, pattern] of [[0, /^[0-9a-f]{16} =$/], [1, /^[0-9a-f]{16} =$/], [2, /^[0-9a-f]{16} [0-9a-f]{16}$/]] as const) {
    checksum.begin(1);
    for (let row = 0; row < rows; row++) checksum.rowEnd();
    expect(written()).toMatch(pattern);
  }
});

test('begins anew after its end', () => {
  const checksum = new RowChecksum();
  checksum.begin(1);
  checksum.row(Buffer.from('some'), 0, 4);
  checksum.end();
  checksum.begin(2);
  checksum.row(Buffer.from('row'), 0, 3);
  checksum.rowEnd();
  expect(checksum.end()).toEqual(of([texts('row')]));
});
