import { expect, test } from '@jest/globals';
import { MalformedPacketError } from './malformed-packet-error.js';
import { framePayload } from './packet-header.js';
import { PacketScanner, ScanEvent } from './packet-scanner.js';
import { randomChunks, seededRandom } from '@binnacle/testing/seeded-random';

interface Seen {
  readonly firstByte: number;
  readonly bytes: number;
  readonly payload: string;
  /** Of the packet's end, in bytes of the stream. */
  readonly end: number;
}

function scan(chunks: readonly Buffer[], scanner = new PacketScanner(), captureBytes = 64): Seen[] {
  const seen: Seen[] = [];
  let before = 0;
  for (const chunk of chunks) {
    scanner.feed(chunk);
    for (let event = scanner.next(); event !== ScanEvent.none; event = scanner.next()) {
      if (event === ScanEvent.begin) scanner.capture(captureBytes);
      else {
        const payload = scanner.payload.toString('latin1', scanner.payloadStart, scanner.payloadEnd);
        seen.push({ firstByte: scanner.firstByte, bytes: scanner.packetBytes, payload, end: before + scanner.offset });
      }
    }
    before += chunk.length;
  }
  return seen;
}

test('packets are the same in whatever chunks they come', () => {
  const random = seededRandom(1);
  for (let round = 0; round < 200; round++) {
    let end = 0;
    const expected: Seen[] = [];
    const framed = Array.from({ length: 1 + random.below(8) }, (_, index) => {
      const payload = Buffer.from(random.bytes(random.below(4) === 0 ? random.below(3) : random.below(300)));
      end += payload.length + 4;
      expected.push({ firstByte: payload[0] ?? -1, bytes: payload.length, payload: payload.toString('latin1', 0, 64), end });
      return framePayload(payload, index);
    });
    const stream = Buffer.concat(framed);
    expect(scan([stream])).toEqual(expected);
    expect(scan(randomChunks(stream, random))).toEqual(expected);
    expect(scan([...stream].map((byte) => Buffer.from([byte])))).toEqual(expected);
  }
});

test('a packet of 16 MB and more is one packet, also when its last frame is empty', () => {
  for (const bytes of [0xff_ff_ff - 1, 0xff_ff_ff, 0xff_ff_ff + 5, 2 * 0xff_ff_ff]) {
    const frames = Math.floor(bytes / 0xff_ff_ff) + 1;
    const stream = Buffer.concat([framePayload(Buffer.alloc(bytes, 'x'), 254), framePayload(Buffer.from('end'), 254 + frames)]);
    const chunks: Buffer[] = [];
    for (let at = 0; at < stream.length; at += 1_000_003) chunks.push(stream.subarray(at, at + 1_000_003));
    expect(scan(chunks, new PacketScanner(), 4).map((seen) => [seen.bytes, seen.payload])).toEqual([[bytes, 'xxxx'], [3, 'end']]);
  }
});

test('quiet packets are counted and passed, loud ones still found between them', () => {
  const random = seededRandom(2);
  const kinds = Array.from({ length: 500 }, () => (random.below(20) === 0 ? 0xfe : random.below(0xfe)));
  const stream = Buffer.concat(kinds.map((kind, index) => framePayload(Buffer.from([kind, ...random.bytes(random.below(40))]), index)));
  for (const chunks of [[stream], randomChunks(stream, random)]) {
    const scanner = new PacketScanner();
    scanner.quietBelow = 0xfe;
    expect(scan(chunks, scanner).map((seen) => seen.firstByte)).toEqual(kinds.filter((kind) => kind === 0xfe));
    expect(scanner.packets).toBe(kinds.length);
    expect(scanner.betweenPackets).toBe(true);
  }
});

test('a payload within one chunk is given in place', () => {
  const chunk = Buffer.concat([framePayload(Buffer.from('one'), 0), framePayload(Buffer.from('two'), 1)]);
  const scanner = new PacketScanner();
  scanner.feed(chunk);
  for (let event = scanner.next(); event !== ScanEvent.none; event = scanner.next()) {
    if (event === ScanEvent.begin) scanner.capture(10);
    else expect(scanner.payload).toBe(chunk);
  }
});

test('where an unfinished packet began is known, also in an earlier chunk', () => {
  const stream = Buffer.concat([framePayload(Buffer.from('one'), 0), framePayload(Buffer.from('two'), 1)]);
  const scanner = new PacketScanner();
  scan([stream.subarray(0, 9)], scanner);
  expect(scanner.unfinishedStart).toBe(7);
  scan([stream.subarray(9, 12)], scanner);
  expect(scanner.unfinishedStart).toBe(-2);
  scan([stream.subarray(12)], scanner);
  expect(scanner.unfinishedStart).toBe(2);
  expect(scanner.streamOffset).toBe(14);
});

test('a payload longer than asked for is cut, and said to be', () => {
  const scanner = new PacketScanner();
  const [seen] = scan(randomChunks(framePayload(Buffer.from('abcdefgh'), 0), seededRandom(3)), scanner, 5);
  expect(seen?.payload).toBe('abcde');
  expect(scanner.payloadCut).toBe(true);
});

test('a wrong sequence id and a packet over the limit are malformed, with their offset in the stream', () => {
  const scanner = new PacketScanner(100);
  scanner.expectSequence(0);
  scan([framePayload(Buffer.from('a'), 0)], scanner);
  expect(() => scan([framePayload(Buffer.from('b'), 5)], scanner)).toThrow(new MalformedPacketError('packet', 9, 'sequence id 1, not 5,'));
  expect(() => scan([framePayload(Buffer.alloc(101), 0)], new PacketScanner(100))).toThrow('a packet of at most 100 bytes');
});

test('an error packet may come with any sequence id', () => {
  const scanner = new PacketScanner();
  scanner.expectSequence(3);
  expect(scan([framePayload(Buffer.from([0xff, 1]), 9)], scanner)).toHaveLength(1);
});

test('a header that promises much takes no memory before it comes', () => {
  const scanner = new PacketScanner();
  scanner.feed(Buffer.from([0xfe, 0xff, 0xff, 0, 1, 2, 3]));
  expect(scanner.next()).toBe(ScanEvent.begin);
  const before = process.memoryUsage().arrayBuffers;
  scanner.capture(0xff_ff_fe);
  expect(scanner.next()).toBe(ScanEvent.none);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(65_536);
});
