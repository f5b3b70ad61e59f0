import { expect, test } from '@jest/globals';
import { identityBytesMax } from '../series/identity-limits.js';
import { LineWords } from './line-words.js';

/** The line that begins behind 3 bytes, and may end before 4 more, in memory that goes on. */
function read(text: string, sender = 5): { name: string; value: string; fields: string; nextStart: number; hash: number } | undefined {
  const bytes = Buffer.from(`:|\n${text}:9|c`);
  const words = new LineWords();
  const end = bytes.length - 4;
  if (!words.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 3, end, sender)) return undefined;
  const [from, lengths = 0] = words.words;
  expect(from).toBe(sender);
  const parts = Buffer.from(words.words.slice(2, words.count).buffer);
  const [nameLength, fieldsLength] = [lengths >>> 16, lengths & 0xffff];
  const fieldsAt = parts.length - Math.ceil((fieldsLength + 1) / 4) * 4;
  const [name, fields] = [parts.subarray(0, nameLength), parts.subarray(fieldsAt, fieldsAt + fieldsLength)];
  // What is no part of them is zero.
  expect(parts.reduce((sum, byte) => sum + byte, 0)).toBe([...name, ...fields].reduce((sum, byte) => sum + byte, 0));
  return { name: name.toString(), value: bytes.toString('utf8', words.valueStart, words.valueEnd), fields: fields.toString(), nextStart: words.nextStart - 3, hash: words.hash };
}

test('names, values and fields of every length are found, wherever the line ends', () => {
  for (let length = 1; length < 20; length++) {
    const name = 'ab.ö-cdefghijklmnop'.slice(0, length);
    const fields = `c|#${'t'.repeat(length)}`;
    for (const [after, next] of [['', 1], ['\n', 1], ['\nb:1|c', 1]] as const) {
      const line = `${name}:${'7'.repeat(length)}|${fields}`;
      expect(read(`${line}${after}`)).toMatchObject({ name, value: '7'.repeat(length), fields, nextStart: Buffer.byteLength(line) + next });
    }
  }
});

test.each(['', 'a', ':1|c', 'a:1', 'a:1\nb|c', 'abc', 'abcdefgh', `${'a'.repeat(3 * identityBytesMax)}:1|c`, `a:1|c|#${'t'.repeat(3 * identityBytesMax)}`])('%.20s is nothing to be told by its words', (text) => {
  expect(read(text)).toBeUndefined();
});

test('the value is no part of the hash, the sender and everything else is', () => {
  const hash = read('hits.of.api:1|c|#env:prod')?.hash;
  expect(read('hits.of.api:22.5|c|#env:prod')?.hash).toBe(hash);
  for (const [other, sender] of [['hits.of.api:1|c|#env:prod', 6], ['hits.of.apj:1|c|#env:prod', 5], ['hits.of.api:1|g|#env:prod', 5]] as const) expect(read(other, sender)?.hash).not.toBe(hash);
});

test('names of one hash are as rare as by chance', () => {
  const hashes = new Set<number | undefined>();
  for (let at = 0; at < 20_000; at++) hashes.add(read(`api.service${at % 100}.endpoint${at}.calls:1|c`)?.hash);
  expect(hashes.size).toBeGreaterThan(19_990);
});

test.each([
  ['empty', '\n'],
  ['without a colon', 'a\n'],
  ['without a value', 'a:\n'],
  ['without a type', 'ab:1\n'],
  ['without a name, before a long value', `${'\n'.repeat(2_047)}:${'1'.repeat(60_000)}`],
])('lines that are %s are not read beyond their end', (_, line) => {
  const bytes = Buffer.from(line.repeat(Math.ceil(65_000 / line.length)).slice(0, 65_000));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let reads = 0;
  const counting = new Proxy(view, {
    get: (_view, method: 'getInt32' | 'getUint8') => (at: number) => {
      reads += 1;
      return view[method](at, true);
    },
  });
  const words = new LineWords();
  for (let start = 0; start < bytes.length; start = bytes.indexOf(0x0a, start) + 1 || bytes.length) expect(words.read(counting, start, bytes.length, 0)).toBe(false);
  expect(reads).toBeLessThan(4 * bytes.length);
});
