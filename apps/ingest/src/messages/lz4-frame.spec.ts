import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { seededRandom } from '@binnacle/testing/seeded-random';
import { BadMessage } from './bad-message.js';
import { readLz4Frames } from './lz4-frame.js';

const bytesMax = 64 * 2 ** 20;

/** By Debian's lz4. */
function frame(content: Buffer, ...options: string[]): Buffer {
  return execFileSync('lz4', ['-c', '-q', '-z', ...options], { input: content, maxBuffer: 2 ** 28 });
}

function contents(): [string, Buffer][] {
  const random = seededRandom(21);
  const words = Buffer.from(Array.from({ length: 60_000 }, () => random.oneOf(['requests.', 'time', 'env:prod,', 'user', String(random.below(1_000))])).join(''));
  return [
    ['nothing', Buffer.alloc(0)],
    ['one byte', Buffer.from('x')],
    ['words', words],
    ['zeros', Buffer.alloc(5_000_000)],
    ['noise', random.bytes(200_000)],
    ['a short period', Buffer.from('abc'.repeat(100_000))],
  ];
}

test.each([['as it comes'], ['linked blocks', '-BD', '-B4'], ['linked, checksums', '-BD', '-B4', '-BX', '--content-size'], ['independent, large', '-BI', '-B7', '-9'], ['no checksum', '--no-frame-crc']])(
  'frames of the lz4 command are read: %s',
  async (_name, ...options) => {
    for (const [name, content] of contents()) expect([name, (await readLz4Frames(frame(content, ...options), bytesMax)).equals(content)]).toEqual([name, true]);
  },
);

test('frames one after the other are one text, and what is to be skipped is skipped', async () => {
  const skipped = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
  expect((await readLz4Frames(Buffer.concat([frame(Buffer.from('one ')), skipped, frame(Buffer.from('two'))]), bytesMax)).toString()).toBe('one two');
});

test('a bomb is refused at the limit, with and without its length in its head', async () => {
  const zeros = Buffer.alloc(20_000_000);
  for (const bomb of [frame(zeros), frame(zeros, '--content-size')]) await expect(readLz4Frames(bomb, 1_000_000)).rejects.toThrow('inflates to more than 1000000 bytes');
  expect(await readLz4Frames(frame(zeros), 20_000_000)).toHaveLength(20_000_000);
});

test('what is cut off or flipped is refused or read, and never does anything else', async () => {
  const random = seededRandom(22);
  const content = Buffer.from('requests.time env:prod '.repeat(50));
  const whole = frame(content, '-BX');
  for (let length = 1; length < whole.length; length++) await expect(readLz4Frames(whole.subarray(0, length), bytesMax)).rejects.toThrow(BadMessage);
  const unchecked = frame(content, '--no-frame-crc');
  for (let round = 0; round < 20_000; round++) {
    const flipped = Buffer.from(random.oneOf([whole, unchecked]));
    for (let flips = 1 + random.below(3); flips > 0; flips--) flipped[random.below(flipped.length)]! ^= 1 << random.below(8);
    try {
      await readLz4Frames(flipped, 100_000);
    } catch (error) {
      expect(error).toBeInstanceOf(BadMessage);
    }
  }
});

test('the longest message is read without holding others up', async () => {
  const random = seededRandom(23);
  const words = Buffer.from(Array.from({ length: 200_000 }, () => random.oneOf(['requests.', 'time', 'env:prod,', 'user', String(random.below(1_000))])).join(''));
  const content = Buffer.concat(Array.from({ length: Math.floor(bytesMax / words.length) }, () => words));
  const frames = frame(content, '-BD', '-B7');
  let turns = 0;
  const count = (): void => {
    turns += 1;
    next = setImmediate(count);
  };
  let next = setImmediate(count);
  const read = await readLz4Frames(frames, bytesMax);
  clearImmediate(next);
  expect(read.equals(content)).toBe(true);
  // 64 MiB in slices of 2 MiB at the most.
  expect(turns).toBeGreaterThan(content.length / 2 ** 21 - 2);
});

test('frames and blocks that give next to nothing are read in slices too', async () => {
  const skipped = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
  const empty = frame(Buffer.alloc(0));
  const one = frame(Buffer.from('x'), '--no-frame-crc');
  // Head, one block of one byte, end.
  const blocks = Buffer.concat([one.subarray(0, 7), ...Array.from({ length: 100_000 }, () => one.subarray(7, 12)), one.subarray(12)]);
  for (const [frames, length] of [[Buffer.concat(Array.from({ length: 100_000 }, () => skipped)), 0], [Buffer.concat(Array.from({ length: 100_000 }, () => empty)), 0], [blocks, 100_000]] as const) {
    let turns = 0;
    let isRead = false;
    const count = (): unknown => isRead || ((turns += 1), setImmediate(count));
    setImmediate(count);
    expect((await readLz4Frames(frames, bytesMax)).length).toBe(length);
    isRead = true;
    expect(turns).toBeGreaterThan(8);
  }
});
