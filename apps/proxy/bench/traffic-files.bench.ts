/*
 * What writing and reading traffic files cost: encoding and decoding records in memory, then writing a capture to a folder with each combination of layers and
 * reading it back. The peer of encoding is copying the same bytes; that of decoding is splitting them into lines with Node's readline.
 * After a build:  node apps/proxy/bench/traffic-files.bench.ts [records]
 *
 * Sides take turns, medians of the rounds count.
 */
import '../test/typescript-files.mjs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';

const { RecordEncoder } = await import('../src/traffic/files/record-encoder.js');
const { RecordDecoder } = await import('../src/traffic/files/record-decoder.js');
const { TrafficReader } = await import('../src/traffic/files/traffic-reader.js');
const { TrafficWriter } = await import('../src/traffic/files/traffic-writer.js');

const recordCount = Number(process.argv[2] ?? 300_000);
const rounds = 5;
const mebibyte = 2 ** 20;
const chunkBytes = 512 * 1_024;
const store = { s3Endpoint: '', s3Region: '', s3ForcePathStyle: true, attemptTimeoutMs: 1_000, timeoutMs: 5_000, connectionsMax: 4 };

const payloads = Array.from({ length: 1_000 }, (_, index) => Buffer.from(`SELECT c, pad FROM sbtest${index % 8} WHERE id = ${index * 7_919 % 100_000} AND k BETWEEN ${index} AND ${index + 99}`));
const encoder = new RecordEncoder();

function encodeAll(onChunk: (chunk: Buffer, records: number) => void): void {
  let target = Buffer.allocUnsafe(chunkBytes);
  let at = 0;
  let count = 0;
  for (let index = 0; index < recordCount; index++) {
    const record = { timeUs: 1_795_000_000_000_000 + index * 13, connectionId: 2 ** 31 + (index % 100), command: 3, payload: payloads[index % payloads.length]! };
    let next = encoder.record(target, at, record);
    if (next < 0) {
      onChunk(target.subarray(0, at), count);
      target = Buffer.allocUnsafe(chunkBytes);
      count = 0;
      next = encoder.record(target, 0, record);
    }
    at = next;
    count++;
  }
  onChunk(target.subarray(0, at), count);
}

const chunks: { chunk: Buffer; records: number }[] = [];
encodeAll((chunk, records) => void chunks.push({ chunk, records }));
const bytes = chunks.reduce((sum, { chunk }) => sum + chunk.length, 0);

const sides: Readonly<Record<string, () => void | Promise<void>>> = {
  encode: () => encodeAll(() => {}),
  copy: () => {
    const target = Buffer.allocUnsafe(chunkBytes);
    for (const { chunk } of chunks) chunk.copy(target);
  },
  decode: () => {
    const decoder = new RecordDecoder({ file: 'memory' });
    let count = 0;
    for (const { chunk } of chunks) {
      decoder.write(chunk);
      while (decoder.next() !== undefined) count++;
    }
    if (count !== recordCount) throw new Error(`${count} records`);
  },
  readline: async () => {
    let count = 0;
    for await (const line of createInterface({ input: Readable.from(chunks.map(({ chunk }) => chunk)) })) if (line.startsWith('# Time: ')) count++;
    if (count !== recordCount) throw new Error(`${count} records`);
  },
};

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

async function timed(action: () => void | Promise<void>): Promise<number> {
  const from = performance.now();
  await action();
  return performance.now() - from;
}

function tell(what: string, ms: number, note = ''): void {
  console.log(`${what.padEnd(36)} ${(recordCount / ms / 1_000).toFixed(2).padStart(7)} M records/s ${(bytes / mebibyte / (ms / 1_000)).toFixed(0).padStart(7)} MiB/s ${note}`);
}

const times: Record<string, number[]> = Object.fromEntries(Object.keys(sides).map((side) => [side, []]));
for (let round = 0; round <= rounds; round++) {
  for (const [side, run] of Object.entries(sides)) {
    const ms = await timed(run);
    if (round > 0) times[side]!.push(ms);
  }
}
console.log(`${recordCount} records, ${(bytes / recordCount).toFixed(0)} bytes each`);
for (const side of Object.keys(sides)) tell(side, median(times[side]!));
console.log(`decode / readline: ${(median(times['readline']!) / median(times['decode']!)).toFixed(1)} times as fast`);

const key = Buffer.alloc(32, 1);
for (const isCompressed of [false, true]) {
  for (const [name, layers] of [['', {}], [', compress first, then encrypt', { key }], [', encrypt first', { key, order: 'encrypt-first' as const }]] as const) {
    const folder = await mkdtemp(join(tmpdir(), 'binnacle-traffic-bench-'));
    try {
      let threadMs = 0;
      const writer = await TrafficWriter.open({
        output: folder, store, temporaryFolder: folder, layers: { isCompressed, order: 'compress-first', ...layers }, version: '0', nowMs: () => Date.now(), onWarning: console.error,
        onFailure: console.error, queueBytesMax: 2 * bytes,
      });
      const before = performance.eventLoopUtilization();
      const writeMs = await timed(async () => {
        for (const { chunk, records } of chunks) writer.writeRecords(chunk, records);
        await writer.close({ state: 'done', leftOut: {} });
      });
      threadMs = performance.eventLoopUtilization(before).active;
      tell(`write${isCompressed ? ' gzip' : ' plain'}${name}`, writeMs, `(${threadMs.toFixed(0)} ms of the thread)`);
      const reader = await TrafficReader.open({ input: folder, store, key });
      let count = 0;
      const readMs = await timed(async () => {
        for await (const { payload } of reader.records()) count += Math.sign(payload.length);
      });
      await reader.close();
      if (count !== recordCount) throw new Error(`${count} records`);
      tell(`read${isCompressed ? ' gzip' : ' plain'}${name}`, readMs);
    } finally {
      await rm(folder, { recursive: true });
    }
  }
}
