import { expect, test } from '@jest/globals';
import { CompressionDecoder, CompressionEncoder } from '@binnacle/mysql-wire/compression';
import { framePayload, headerBytes } from '@binnacle/mysql-wire/packet-header';
import { randomChunks, seededRandom } from '@binnacle/testing/seeded-random';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { ByteChannel } from './byte-channel.js';
import { CompressedChannel } from './compressed-channel.js';

/** The other channel, by hand: what was written to it, and whether it may speak. */
class Inner implements ByteChannel {
  onBytes!: ByteChannel['onBytes'];
  onDrain!: () => void;
  onEnd!: () => void;
  onClosed!: (error?: Error) => void;
  readonly written: Buffer[] = [];
  paused = true;
  closed = false;
  full = false;
  ended = false;
  readonly writesPending = false;
  readonly [other: string]: unknown;
  readonly bytesRead = 0;
  readonly bytesWritten = 0;
  readonly remoteAddress = '';
  readonly remotePort = 0;
  readonly localPort = 0;
  readonly secure = false;

  write(chunk: Buffer): boolean {
    this.written.push(Buffer.from(chunk));
    return !this.full;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  end(): void {
    this.ended = true;
  }

  destroy(): void {
    this.closed = true;
    process.nextTick(() => this.onClosed());
  }

  keepAlive(): void {}
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Ids of the frames and the plain bytes in them. */
function opened(frames: readonly Buffer[]): { ids: number[]; plain: Buffer } {
  const bytes = Buffer.concat(frames);
  const ids: number[] = [];
  for (let at = 0; at < bytes.length; at += 7 + bytes.readUIntLE(at, 3)) ids.push(bytes[at + 3]!);
  return { ids, plain: Buffer.concat(new CompressionDecoder('zlib').push(bytes)) };
}

test('who pauses in the middle of a chunk gets the rest later, in order, and the end behind it', async () => {
  const inner = new Inner();
  const channel = new CompressedChannel(inner, 'zlib', 'server');
  const got: string[] = [];
  channel.onBytes = (chunk, start, end) => {
    got.push(chunk.toString('latin1', start, end));
    channel.pause();
    return false;
  };
  channel.onEnd = () => void got.push('END');
  channel.resume();
  const encoder = new CompressionEncoder('zlib');
  const chunk = Buffer.concat(['one', 'two'.repeat(100), 'three'].flatMap((text) => encoder.encode(Buffer.from(text))));
  expect(inner.onBytes(chunk, 0, chunk.length)).toBe(true);
  inner.onEnd();
  for (const expected of [['one'], ['one', 'two'.repeat(100)], ['one', 'two'.repeat(100), 'three']]) {
    expect(got).toEqual(expected);
    expect(inner.paused).toBe(true);
    channel.resume();
    expect(got).toEqual(expected);
    await turn();
  }
  expect(got).toEqual(['one', 'two'.repeat(100), 'three', 'END']);
  expect(inner.paused).toBe(false);
});

test('a large frame is opened while others go on, and what came behind it stays behind it', async () => {
  const inner = new Inner();
  const channel = new CompressedChannel(inner, 'zlib', 'server');
  const got: number[] = [];
  channel.onBytes = (_chunk, start, end) => {
    got.push(end - start);
    return false;
  };
  channel.onEnd = () => void got.push(-1);
  channel.resume();
  const encoder = new CompressionEncoder('zlib');
  const chunk = Buffer.concat(['before', 'x'.repeat(16_000_000), 'behind'].flatMap((text) => encoder.encode(Buffer.from(text))));
  expect(inner.onBytes(chunk, 0, chunk.length)).toBe(true);
  expect([got, inner.paused]).toEqual([[6], true]);
  inner.onEnd();
  await waitUntil(() => got.at(-1) === -1, { what: 'the end' });
  expect([got, inner.paused]).toEqual([[6, 16_000_000, 6, -1], false]);

  const closed = new Promise<Error | undefined>((resolve) => (channel.onClosed = resolve));
  const broken = Buffer.from(encoder.encode(Buffer.from('y'.repeat(1_000_000))).reduce((all, part) => Buffer.concat([all, part]), Buffer.alloc(0)));
  broken.fill(0xff, 20, 60);
  inner.onBytes(broken, 0, broken.length);
  expect(await closed).toMatchObject({ name: 'MalformedPacketError' });
});

test('the parts of a packet over 16 MB follow each other, whatever ids the client gave them', async () => {
  const inner = new Inner();
  const channel = new CompressedChannel(inner, 'zlib', 'server');
  const got: Buffer[] = [];
  channel.onBytes = (chunk, start, end) => {
    got.push(Buffer.from(chunk.subarray(start, end)));
    return false;
  };
  channel.resume();
  const part = (length: number, id: number): Buffer => Buffer.concat([Buffer.from([length & 0xff, (length >> 8) & 0xff, length >> 16, id]), Buffer.alloc(length, 'x')]);
  const plain = Buffer.concat([part(5, 0), part(0xff_ff_ff, 0), part(0xff_ff_ff, 0), part(7, 1), part(3, 0)]);
  const encoder = new CompressionEncoder('zlib');
  const ends = [20, 16_777_100, 16_777_230, 16_777_231, plain.length];
  for (const [index, end] of ends.entries()) {
    const chunk = Buffer.concat(encoder.encode(plain.subarray(ends[index - 1] ?? 0, end)));
    inner.onBytes(chunk, 0, chunk.length);
    await waitUntil(() => got.reduce((sum, { length }) => sum + length, 0) === end, { what: 'what was sent' });
  }
  const bytes = Buffer.concat(got);
  const ids: number[] = [];
  for (let at = 0; at < bytes.length; at += 4 + bytes.readUIntLE(at, 3)) ids.push(bytes[at + 3]!);
  expect(ids).toEqual([0, 0, 1, 2, 0]);
});

test('nonsense ends the connection, and why is told once', async () => {
  const inner = new Inner();
  const channel = new CompressedChannel(inner, 'zlib', 'server');
  const ends: (Error | undefined)[] = [];
  channel.onClosed = (error) => void ends.push(error);
  channel.resume();
  inner.onBytes(Buffer.from([5, 0, 0, 0, 100, 0, 0, 1, 2, 3, 4, 5]), 0, 12);
  await turn();
  expect(ends).toMatchObject([{ name: 'MalformedPacketError' }]);
});

test('frames of commands begin with id 0 in whatever pieces they are written, those of a file go on', () => {
  const packets: [text: string, id: number][] = [['\x03SELECT 1', 0], ['\x19 close', 0], ['\x03' + 'x'.repeat(300), 0]];
  for (let id = 0; id < 300; id++) packets.push([`line ${id}`, (id + 2) & 0xff]);
  packets.push(['', (300 + 2) & 0xff], ['\x03SELECT 2', 0]);
  const bytes = Buffer.concat(packets.map(([text, id]) => framePayload(Buffer.from(text), id)));
  for (let seed = 1; seed <= 12; seed++) {
    const inner = new Inner();
    const channel = new CompressedChannel(inner, 'zlib', 'client');
    for (const piece of seed === 1 ? [bytes] : randomChunks(bytes, seededRandom(seed), 3 ** (seed % 6))) channel.write(piece);
    const { ids, plain } = opened(inner.written);
    expect({ seed, same: plain.equals(bytes) }).toEqual({ seed, same: true });
    const begins = ids.filter((id, index) => id === 0 && ids[index - 1] !== 255).length;
    const gaps = ids.filter((id, index) => id !== 0 && id !== ids[index - 1]! + 1).length;
    expect({ seed, begins, gaps }).toEqual({ seed, begins: 4, gaps: 0 });
  }
});

test('the packets of an answer are numbered from the command, however many frames that took', () => {
  for (let seed = 1; seed <= 12; seed++) {
    const random = seededRandom(seed);
    const inner = new Inner();
    const channel = new CompressedChannel(inner, 'zlib', 'client');
    const got: Buffer[] = [];
    channel.onBytes = (chunk, start, end) => {
      got.push(Buffer.from(chunk.subarray(start, end)));
      return false;
    };
    channel.resume();
    const command = framePayload(Buffer.from('\x03' + 'y'.repeat(500)), 0);
    for (const piece of randomChunks(command, random, 200)) channel.write(piece);
    const first = (opened(inner.written).ids.at(-1)! + 1) & 0xff;
    // As servers do: counted on from the command's last frame.
    const answer = Array.from({ length: 260 }, (_, index) => framePayload(Buffer.from(`row ${index}`), (first + index) & 0xff));
    const encoder = new CompressionEncoder('zlib');
    encoder.sequenceId = first;
    const frames = Buffer.concat(randomChunks(Buffer.concat(answer), random, 100).flatMap((piece) => encoder.encode(piece)));
    for (const chunk of randomChunks(frames, random, 50)) inner.onBytes(chunk, 0, chunk.length);
    const plain = Buffer.concat(got);
    const ids: number[] = [];
    for (let at = 0; at < plain.length; at += headerBytes + plain.readUIntLE(at, 3)) ids.push(plain[at + 3]!);
    expect({ seed, ids }).toEqual({ seed, ids: Array.from({ length: 260 }, (_, index) => (index + 1) & 0xff) });
  }
});
