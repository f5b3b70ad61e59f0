import { expect, test } from '@jest/globals';
import { MalformedPacketError } from './malformed-packet-error.js';
import { PacketReader } from './packet-reader.js';
import { PacketWriter } from './packet-writer.js';

test('fields come out as they went in, over the growth of the writer', () => {
  const numbers = [0n, 250n, 251n, 65_535n, 65_536n, 16_777_215n, 16_777_216n, 2n ** 64n - 1n];
  const writer = new PacketWriter();
  for (const number of numbers) writer.lenenc(number);
  writer.u8(1).u16(2).u24(3).u32(4).u64(5n).nullTerminated('näme').lenencString('x'.repeat(300)).zeros(2).string('rest');
  const reader = new PacketReader(writer.finish(), 'test');
  expect(numbers.map(() => reader.lenenc('number'))).toEqual(numbers);
  expect([reader.u8('a'), reader.u16('b'), reader.u24('c'), reader.u32('d'), reader.u64('e')]).toEqual([1, 2, 3, 4, 5n]);
  expect(reader.nullTerminated('name').toString()).toBe('näme');
  expect(reader.lenencString('text')).toHaveLength(300);
  reader.expect(0, 'filler');
  expect(reader.fixed(1, 'filler')).toEqual(Buffer.alloc(1));
  expect(reader.nullTerminatedOrRest('rest').toString()).toBe('rest');
  expect(reader.left).toBe(0);
});

test('an error says what was expected and where, and never what was there', () => {
  const reader = new PacketReader(Buffer.from([5, 1, 2]), 'greeting');
  expect(() => reader.lenencBytes('name')).toThrow(new MalformedPacketError('greeting', 0, 'a length of name that fits into the packet'));
  expect(() => reader.u32('id')).toThrow('malformed greeting: expected id of 4 bytes, not the end, at byte 0');
  expect(() => reader.nullTerminated('name')).toThrow('a NUL after name');
  expect(() => new PacketReader(Buffer.from([0xfb]), 'row').lenenc('length')).toThrow('as a length-encoded integer');
});

test('a field never reaches beyond the part of the buffer that was given', () => {
  const reader = new PacketReader(Buffer.from('ab\0cd\0'), 'part', 0, 2);
  expect(() => reader.nullTerminated('name')).toThrow(MalformedPacketError);
  expect(reader.rest().toString()).toBe('ab');
});

test('a NUL cannot be hidden in a NUL-terminated field', () => {
  expect(() => new PacketWriter().nullTerminated('a\0b')).toThrow(RangeError);
});
