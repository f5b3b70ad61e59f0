import { randomChunks, seededRandom } from '@binnacle/testing/seeded-random';
import { expect, test } from '@jest/globals';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { gzipSync } from 'node:zlib';
import { findLayers, headBytes, type Layers, readingStreams, writingStreams } from './layers.js';

const key = Buffer.from(Array.from({ length: 32 }, (_, index) => index));
const otherKey = Buffer.alloc(32, 7);
const orders = ['compress-first', 'encrypt-first'] as const;
const combinations: Layers[] = orders.flatMap((order) => [true, false].flatMap((isCompressed) => [{ order, isCompressed }, { order, isCompressed, key }]));
/** `select 1` on connection 7 as TiProxy v1.4 encrypts it, IV f0 to ff. */
const encryptedExample = Buffer.from(
  'f0f1f2f3f4f5f6f7f8f9fafbfcfdfeffb12099e44ef3baeb6859d4626d035239f86e2f70c81004f45497620f7e40dc84ba4c62347a76aad13cbf00279f77d2df2811af42b794b84e7675e6d4c4692bc1da6118ad594df0',
  'hex',
);
const plainExample = '# Time: 2026-11-21T09:05:07.47Z\n# Conn_ID: 7\n# Payload_len: 8\nselect 1\n';

async function through(chunks: readonly Buffer[], streams: ReturnType<typeof writingStreams>): Promise<Buffer> {
  const out: Buffer[] = [];
  const collect = async (source: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of source) out.push(chunk);
  };
  await pipeline([Readable.from(chunks, { objectMode: false }), ...streams, collect] as unknown as NodeJS.ReadWriteStream[]);
  return Buffer.concat(out);
}

function records(random: ReturnType<typeof seededRandom>): Buffer {
  return Buffer.concat([Buffer.from('# Time: '), random.bytes(random.below(10_000)), Buffer.alloc(random.below(50_000), 'select 1')]);
}

test.each([false, true])('what TiProxy has encrypted is read; gzip around it: %s', async (isCompressed) => {
  const bytes = isCompressed ? gzipSync(encryptedExample) : encryptedExample;
  const found = findLayers(bytes, key);
  expect(found).toEqual({ isCompressed, key, order: isCompressed ? 'encrypt-first' : 'compress-first' });
  expect((await through(randomChunks(bytes, seededRandom(1), 1), readingStreams(found as Layers))).toString()).toBe(plainExample);
});

test('every combination of layers is told by its first bytes and read again, in whatever pieces', async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = seededRandom(seed);
    const plain = records(random);
    for (const layers of combinations) {
      const written = await through(randomChunks(plain, random, random.oneOf([30_000, plain.length])), writingStreams(layers));
      const found = findLayers(written.subarray(0, headBytes), key) as Layers;
      expect([seed, found.isCompressed, found.key]).toEqual([seed, layers.isCompressed, layers.key]);
      const isRead = (await through(randomChunks(written, random, random.oneOf([50, 70_000])), readingStreams(found))).equals(plain);
      expect([seed, isRead]).toEqual([seed, true]);
    }
  }
});

test('two files never share a stream of key bytes', async () => {
  const [first, second] = [await through([Buffer.from(plainExample)], writingStreams(combinations[3]!)), await through([Buffer.from(plainExample)], writingStreams(combinations[3]!))];
  expect(first.subarray(0, 16).equals(second.subarray(0, 16))).toBe(false);
});

test('compressing first makes files small, encrypting first does not', async () => {
  const plain = Buffer.from(plainExample.repeat(5_000));
  const size = async (order: Layers['order']): Promise<number> => (await through([plain], writingStreams({ isCompressed: true, key, order }))).length;
  expect(await size('compress-first')).toBeLessThan(plain.length / 10);
  expect(await size('encrypt-first')).toBeGreaterThan(plain.length);
});

test('a file cut off anywhere gives a front of what was written, and its layers or why not', async () => {
  const plain = Buffer.from(plainExample.repeat(3));
  for (const layers of combinations) {
    const written = await through([plain], writingStreams(layers));
    for (let length = 0; length <= written.length; length++) {
      const cut = written.subarray(0, length);
      const found = findLayers(cut, key);
      if (typeof found === 'string') expect(length).toBeLessThan(written.length);
      else {
        const read = await through(length === 0 ? [] : [cut], readingStreams(found));
        expect(plain.subarray(0, read.length).equals(read)).toBe(true);
      }
    }
  }
});

test('a key that does not fit, or is missing, is told from a file that is none', async () => {
  for (const layers of combinations) {
    const written = await through([Buffer.from(plainExample)], writingStreams(layers));
    const { isCompressed, order } = layers;
    if (layers.key === undefined) expect(findLayers(written, otherKey)).toMatchObject({ isCompressed });
    else {
      expect(findLayers(written, otherKey)).toBe('key-does-not-fit');
      expect(findLayers(written, undefined)).toBe(isCompressed && order === 'encrypt-first' ? 'key-needed' : 'unknown');
    }
  }
  expect(findLayers(Buffer.from('select 1'), undefined)).toBe('unknown');
});

test('an IV that begins as gzip does is no gzip', () => {
  for (const length of [20, 87]) {
    const bytes = Buffer.from(encryptedExample.subarray(0, length));
    bytes.set([0x1f, 0x8b, 0x08]);
    expect(['key-does-not-fit', 'unknown']).toContain(findLayers(bytes, key));
    expect(findLayers(bytes, undefined)).toBe('unknown');
  }
});
