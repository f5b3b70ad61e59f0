import { expect, test } from '@jest/globals';
import { randomChunks, seededRandom } from '@binnacle/testing/seeded-random';
import { deflateSync } from 'node:zlib';
import { CompressionDecoder, CompressionEncoder } from './compression.js';
import { MalformedPacketError } from './malformed-packet-error.js';

const random = seededRandom(5);

function frame(body: Buffer, plainBytes: number): Buffer {
  const header = Buffer.alloc(7);
  header.writeUIntLE(body.length, 0, 3);
  header.writeUIntLE(plainBytes, 4, 3);
  return Buffer.concat([header, body]);
}

for (const algorithm of ['zlib', 'zstd'] as const) {
  test(`${algorithm}: what goes in comes out, in whatever chunks`, () => {
    const encoder = new CompressionEncoder(algorithm);
    const decoder = new CompressionDecoder(algorithm);
    for (let round = 0; round < 30; round++) {
      const plain = random.below(2) === 0 ? random.bytes(random.below(400)) : Buffer.alloc(random.below(100_000), 'abc');
      const chunks = randomChunks(Buffer.concat(encoder.encode(plain)), random, 50);
      const opened = chunks.flatMap((chunk) => decoder.push(chunk).map((piece) => Buffer.from(piece)));
      expect(Buffer.concat(opened)).toEqual(plain);
      expect(decoder.empty).toBe(true);
    }
  });

  test(`${algorithm}: 16 MB and more take several frames, whose ids wrap`, () => {
    const encoder = new CompressionEncoder(algorithm, 1);
    encoder.sequenceId = 255;
    const plain = Buffer.alloc(0x1_00_00_05, 'x');
    const decoder = new CompressionDecoder(algorithm);
    expect(Buffer.concat(decoder.push(Buffer.concat(encoder.encode(plain)))).equals(plain)).toBe(true);
    expect(decoder.sequenceId).toBe(0);
  });
}

test('a bomb is refused before or while it is opened', () => {
  const bomb = deflateSync(Buffer.alloc(10_000_000));
  expect(() => new CompressionDecoder('zlib', 1_000_000).push(frame(bomb, 10_000_000))).toThrow('at most 1000000 plain bytes');
  expect(() => new CompressionDecoder('zlib', 1_000_000).push(frame(bomb, 1_000_000))).toThrow(MalformedPacketError);
  expect(() => new CompressionDecoder('zlib').push(frame(deflateSync(Buffer.alloc(10)), 20))).toThrow('the plain length 10, not 20');
});

test('noise is malformed or plain, never anything else', () => {
  for (let round = 0; round < 300; round++) {
    const decoder = new CompressionDecoder(random.oneOf(['zlib', 'zstd']));
    try {
      for (const chunk of randomChunks(frame(random.bytes(random.below(60)), random.below(2) * random.below(1_000)), random)) decoder.push(chunk);
    } catch (error) {
      expect(error).toBeInstanceOf(MalformedPacketError);
    }
  }
});
