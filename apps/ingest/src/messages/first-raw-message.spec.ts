import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { seededRandom } from '@binnacle/testing/seeded-random';
import { BadMessage } from './bad-message.js';
import { readFirstRawMessage } from './first-raw-message.js';
import { checkRawMessage } from './raw-message.js';

const schemaFolder = new URL('../../schema/', import.meta.url).pathname;

/** By protoc's own encoder. */
const encoded = (text: string): Buffer => execFileSync('protoc', ['--encode=gostatsd.RawMessageV1', '-I', schemaFolder, 'gostatsd.proto'], { input: text });

function series(bytes: Buffer): unknown[] {
  const found: unknown[] = [];
  readFirstRawMessage(bytes, {
    counter: ({ name, tags, source }, value) => found.push(['counter', name, tags, source, value]),
    gauge: ({ name, tags, source }, value) => found.push(['gauge', name, tags, source, value]),
    gaugeChange: () => found.push('no such thing in version 1'),
    set: ({ name, tags, source }, members) => found.push(['set', name, tags, source, members]),
    timer: ({ name, tags, source }, values, sampleCount) => found.push(['timer', name, tags, source, values, sampleCount]),
  });
  return found;
}

const everyKind = `
RawMetrics { Name: "hits" Tags: "env:prod" Tags: "a" Hostname: "web-1" counter { Value: 2.5 } }
RawMetrics { Name: "load" gauge { Value: -0.25 } }
RawMetrics { Name: "users" set { Value: "ann" } }
RawMetrics { Name: "took" timer { Value: 30 Rate: 0.1 } }
RawMetrics { Name: "took" timer { Value: 40 } }
RawMetrics { Name: "of no kind" }`;

test('a message by protoc is read as it was written, value by value; one of no kind is passed over', () => {
  expect(series(encoded(everyKind))).toEqual([
    ['counter', 'hits', ['env:prod', 'a'], 'web-1', 2.5],
    ['gauge', 'load', [], '', -0.25],
    ['set', 'users', [], '', ['ann']],
    ['timer', 'took', [], '', [30], 10],
    ['timer', 'took', [], '', [40], 1],
  ]);
  expect(series(Buffer.alloc(0))).toEqual([]);
});

test('the fields of a metric come in any order, and of two kinds the last one counts', () => {
  const counter = [0x62, 9, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
  const gauge = [0x6a, 9, 0x09, 0, 0, 0, 0, 0, 0, 0x00, 0x40];
  const name = [0x0a, 1, 0x61];
  const metric = [...counter, ...gauge, ...name];
  expect(series(Buffer.from([0x0a, metric.length, ...metric]))).toEqual([['gauge', 'a', [], '', 2]]);
});

test('no message that is cut off or flipped does anything but be read or refused', () => {
  const random = seededRandom(11);
  const whole = encoded(everyKind);
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(whole);
    for (let flips = random.below(4); flips > 0; flips--) bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
    try {
      checkRawMessage(bytes.subarray(0, bytes.length - (random.below(2) && random.below(bytes.length))), readFirstRawMessage);
    } catch (error) {
      expect(error).toBeInstanceOf(BadMessage);
    }
  }
});
