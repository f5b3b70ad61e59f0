import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { deflateSync } from 'node:zlib';
import { seededRandom } from '@binnacle/testing/seeded-random';
import { BadMessage, MessageTooLong } from './bad-message.js';
import { bodyEncoding, decodedBody } from './body-encoding.js';
import { readEventMessage } from './event-message.js';
import { checkRawMessage, readRawMessage } from './raw-message.js';

const schemaFolder = new URL('../../schema/', import.meta.url).pathname;

/** By protoc's own encoder, from a message in protobuf's text form. */
function encoded(message: string, text: string): Buffer {
  return execFileSync('protoc', [`--encode=gostatsd.${message}`, '-I', schemaFolder, 'gostatsd.proto'], { input: text });
}

function series(bytes: Buffer): unknown[] {
  const found: unknown[] = [];
  readRawMessage(bytes, {
    counter: ({ name, tags, source }, value) => found.push(['counter', name, tags, source, value]),
    gauge: ({ name, tags, source }, value) => found.push(['gauge', name, tags, source, value]),
    gaugeChange: ({ name, tags, source }, change) => found.push(['change', name, tags, source, change]),
    set: ({ name, tags, source }, members) => found.push(['set', name, tags, source, members]),
    timer: ({ name, tags, source }, values, sampleCount) => found.push(['timer', name, tags, source, values, sampleCount]),
  });
  return found;
}

const everyKind = `
Counters { key: "hits" value { TagMap { key: "env:prod,s:web-1" value { Tags: "env:prod" Hostname: "web-1" Value: 5 } } TagMap { key: ",s:" value { Value: -7000000000 } } } }
Gauges { key: "load" value { TagMap { key: ",s:web-1" value { Hostname: "web-1" Value: 0.25 } } } }
Sets { key: "users" value { TagMap { key: ",s:web-1" value { Hostname: "web-1" Values: "a" Values: "b" } } } }
Timers { key: "took" value { TagMap { key: ",s:web-1" value { Hostname: "web-1" SampleCount: 4 Values: 1.5 Values: 2.5 } } } }`;

test('a message by protoc is read as it was written', () => {
  const found = series(encoded('RawMessageV2', everyKind));
  expect(found).toHaveLength(5);
  expect(found).toEqual(
    expect.arrayContaining([
      ['counter', 'hits', ['env:prod'], 'web-1', 5],
      ['counter', 'hits', [], '', -7_000_000_000],
      ['gauge', 'load', [], 'web-1', 0.25],
      ['set', 'users', [], 'web-1', ['a', 'b']],
      ['timer', 'took', [], 'web-1', [1.5, 2.5], 4],
    ]),
  );
});

test('values that are not packed, and a name behind its value, are read too', () => {
  // TagMap entry: value { Values: 1.5 } as field 4 of type 1; then the name.
  const value = Buffer.from([0x21, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f]);
  const inside = (tag: number, content: Buffer): Buffer => Buffer.concat([Buffer.from([tag, content.length]), content]);
  const entry = Buffer.concat([inside(0x12, inside(0x0a, inside(0x12, value))), inside(0x0a, Buffer.from('late'))]);
  expect(series(inside(0x22, entry))).toEqual([['timer', 'late', [], '', [1.5], 0]]);
});

test('an event by protoc is read as it was written, and has what it does not say', () => {
  const text = 'Title: "deploy" Text: "v2" DateHappened: 1600000000 Hostname: "web-1" AggregationKey: "k" SourceTypeName: "ci" Tags: "b" Tags: "a" SourceIP: "10.0.0.1" Priority: Low Type: Success';
  expect(readEventMessage(encoded('EventV2', text), 1)).toEqual({
    title: 'deploy',
    text: 'v2',
    happenedAtS: 1_600_000_000,
    source: 'web-1',
    aggregationKey: 'k',
    sourceTypeName: 'ci',
    tags: ['a', 'b'],
    priority: 'low',
    type: 'success',
    kind: 'event',
  });
  expect(readEventMessage(encoded('EventV2', 'Title: "x" SourceIP: "10.0.0.1" Priority: 9'), 77)).toMatchObject({ happenedAtS: 77, source: '10.0.0.1', priority: 'normal', type: 'info' });
  expect(readEventMessage(Buffer.alloc(0), 77)).toMatchObject({ title: '', happenedAtS: 77 });
});

test('no message that is cut off or flipped does anything but be read or refused', () => {
  const random = seededRandom(31);
  const whole = encoded('RawMessageV2', everyKind);
  const event = encoded('EventV2', 'Title: "deploy" Text: "v2" DateHappened: 16 Tags: "b"');
  const attempt = (bytes: Buffer, read: (bytes: Buffer) => void): void => {
    try {
      read(bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(BadMessage);
    }
  };
  for (let round = 0; round < 50_000; round++) {
    const [bytes, read] = random.below(4) > 0 ? [Buffer.from(whole), checkRawMessage] : [Buffer.from(event), (each: Buffer): void => void readEventMessage(each, 0)];
    for (let flips = random.below(4); flips > 0; flips--) bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
    attempt(bytes.subarray(0, bytes.length - (random.below(2) && random.below(bytes.length))), read);
  }
});

test('names that are no UTF-8 are refused', () => {
  expect(() => checkRawMessage(Buffer.from([0x0a, 0x04, 0x0a, 0x02, 0xc3, 0x28]))).toThrow(BadMessage);
});

test('a message of nothing but tiny fields is refused before it takes long', () => {
  const tiny = Buffer.alloc(20_000_000, Buffer.from([0x0a, 0x00]));
  expect(() => checkRawMessage(tiny)).toThrow('more than 4000000 fields');
});

test('encodings are exact', () => {
  expect([undefined, 'identity', 'deflate', 'lz4', 'gzip', 'Deflate', 'deflate, lz4', ''].map(bodyEncoding)).toEqual(['identity', 'identity', 'deflate', 'lz4', undefined, undefined, undefined, 'identity']);
});

test('a body is inflated up to the limit and no further', async () => {
  const zeros = Buffer.alloc(1_000_000);
  expect(await decodedBody(deflateSync(zeros), 'deflate', 1_000_000)).toHaveLength(1_000_000);
  await expect(decodedBody(deflateSync(zeros), 'deflate', 999_999)).rejects.toThrow(MessageTooLong);
  await expect(decodedBody(zeros, 'identity', 999_999)).rejects.toThrow(MessageTooLong);
  await expect(decodedBody(Buffer.from('no zlib'), 'deflate', 999_999)).rejects.toThrow(BadMessage);
  await expect(decodedBody(Buffer.from('no frame'), 'lz4', 999_999)).rejects.toThrow(BadMessage);
  expect(await decodedBody(Buffer.alloc(0), 'deflate', 10)).toHaveLength(0);
});
