import { expect, test } from '@jest/globals';
import { Capability } from './capabilities.js';
import { MalformedPacketError } from './malformed-packet-error.js';
import { PacketWriter } from './packet-writer.js';
import { queryTextStart } from './query-text.js';

const text = (payload: Buffer, capabilities: number): string => payload.toString('utf8', queryTextStart(payload, capabilities));

test('the statement is found behind query attributes', () => {
  const plain = Buffer.from('\x03SELECT 1');
  expect(text(plain, 0)).toBe('SELECT 1');
  expect(text(Buffer.from('\x03\x00\x01SELECT 1'), Capability.queryAttributes)).toBe('SELECT 1');
  const attributes = new PacketWriter().u8(3).u8(4).u8(1).u8(0b10).u8(1)
    .u16(0xfe).lenencString('trace').u16(0x08).lenencString('absent').u16(0x8003).lenencString('n').u16(0x0c).lenencString('at')
    .lenencString('abc').u32(7).u8(4).bytes(Buffer.alloc(4)).string('SELECT 2').finish();
  expect(text(attributes, Capability.queryAttributes)).toBe('SELECT 2');
  for (let length = 1; length < attributes.length - 8; length++) {
    expect(() => text(attributes.subarray(0, length), Capability.queryAttributes)).toThrow(MalformedPacketError);
  }
});
