import { seededRandom } from '@binnacle/testing/seeded-random';
import { canMount, SmallDisk } from '@binnacle/testing/small-disk';
import { waitUntil } from '@binnacle/testing/wait-until';
import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { cp, mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parsePart } from './capture-part.js';
import type { Layers } from './layers.js';
import type { ReadRecord, TrafficRecord } from './record.js';
import { RecordEncoder } from './record-encoder.js';
import { encodeResult, resultBytesMax, type TimedResult } from './results-file.js';
import { parseMeta } from './traffic-meta.js';
import { TrafficReader, type TrafficReaderOptions } from './traffic-reader.js';
import { TrafficWriter, type TrafficWriterOptions } from './traffic-writer.js';

const key = Buffer.alloc(32, 0xa5);
const orders = ['compress-first', 'encrypt-first'] as const;
const combinations: Layers[] = orders.flatMap((order) => [true, false].flatMap((isCompressed) => [{ order, isCompressed }, { order, isCompressed, key }]));
const store = { s3Endpoint: '', s3Region: '', s3ForcePathStyle: true, attemptTimeoutMs: 1_000, timeoutMs: 5_000, connectionsMax: 4 };
const startMs = Date.parse('2026-11-21T09:05:07Z');
const done = { state: 'done', leftOut: {} } as const;

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'binnacle-traffic-files-'));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function openWriter(output: string, options: Partial<TrafficWriterOptions> = {}): Promise<TrafficWriter> {
  let nowMs = startMs;
  return await TrafficWriter.open({
    output, store, temporaryFolder: tmpdir(), layers: { isCompressed: true, order: 'compress-first' }, version: '1.2.3', nowMs: () => (nowMs += 10),
    onWarning: (message) => expect(message).toBe(''), onFailure: () => {}, ...options,
  });
}

function query(index: number, payload: Uint8Array = Buffer.from(`select ${index}`)): TrafficRecord {
  return { timeUs: startMs * 1_000 + index, connectionId: 1 + (index % 3), command: 3, payload };
}

function encoded(records: readonly TrafficRecord[]): Buffer {
  const encoder = new RecordEncoder();
  const target = Buffer.alloc(records.reduce((sum, record) => sum + encoder.recordBytesMax(record), 0));
  return target.subarray(0, records.reduce((at, record) => encoder.record(target, at, record), 0));
}

function resultOf(index: number): TimedResult {
  const ordered = index % 2 ? '0000000000000000' : index.toString(16).padStart(16, 'a');
  const [connectionId, ordinal] = [1 + (index % 3), 1 + Math.floor(index / 3)];
  const affectedRows = index % 5 ? index : Number.MAX_SAFE_INTEGER;
  return { source: 0, endTimeUs: startMs * 1_000 + index, connectionId, ordinal, latencyUs: index * 7, errorCode: index % 4 ? 0 : 1_062, rows: index, affectedRows, ordered, unordered: index % 3 ? ordered : 'fedcba9876543210' };
}

function encodedResults(results: readonly TimedResult[]): Buffer {
  const target = Buffer.alloc(results.length * resultBytesMax + resultBytesMax);
  return target.subarray(0, results.reduce((at, result) => encodeResult(target, at, result.endTimeUs, result), 0));
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

async function read(input: string, options: Partial<TrafficReaderOptions> = {}): Promise<{ records: ReadRecord[]; results: TimedResult[]; reader: TrafficReader }> {
  const reader = await TrafficReader.open({ input, store, key, ...options });
  try {
    return { records: await all(reader.records()), results: await all(reader.results()), reader };
  } finally {
    await reader.close();
  }
}

const texts = (records: readonly ReadRecord[]): string[] => records.map(({ payload }) => Buffer.from(payload).toString());

async function capture(output: string, indexes: readonly number[], options: Partial<TrafficWriterOptions> = {}): Promise<void> {
  const writer = await openWriter(output, options);
  for (const index of indexes) {
    expect(writer.writeRecords(encoded([query(index)]), 1)).toBe(true);
    expect(writer.writeResults(encodedResults([resultOf(index)]), 1)).toBe(true);
  }
  await writer.close(done);
}

test('whatever was written is read again, with every combination of layers, over several files', async () => {
  for (const [seed, layers] of combinations.entries()) {
    await withFolder(async (folder) => {
      const random = seededRandom(seed);
      const records = Array.from({ length: 300 }, (_, index) => query(index, random.bytes(random.below(300))));
      const results = records.map((_, index) => resultOf(index));
      const writer = await openWriter(folder, { layers, fileBytesMax: 20_000 });
      for (let at = 0; at < records.length; ) {
        const count = 1 + random.below(40);
        const some = records.slice(at, at + count);
        expect(writer.writeRecords(encoded(some), some.length)).toBe(true);
        expect(writer.writeResults(encodedResults(results.slice(at, at + count)), some.length)).toBe(true);
        at += count;
      }
      await writer.close({ state: 'done', leftOut: { secret: 2 } });
      const found = await read(folder);
      expect(found.records).toEqual(records.map((record) => ({ ...record, source: 0, payload: Buffer.from(record.payload) })));
      expect(found.results).toEqual(results);
      expect(found.reader).toMatchObject({ commands: 300, hasResults: true, fromUs: (startMs + 10) * 1_000 });
      expect(found.reader.sources[0]?.files.length).toBeGreaterThan(3);
    });
  }
});

test('names, second names and meta are what TiProxy reads', async () => {
  await withFolder(async (folder) => {
    const writer = await openWriter(folder, { fileBytesMax: 100, layers: { isCompressed: true, order: 'encrypt-first', key }, serverVersion: '11.8.3-MariaDB' });
    expect(parseMeta(await readFile(join(folder, 'meta'), 'utf8')).Binnacle).toMatchObject({ state: 'running', complete: false });
    for (let index = 0; index < 2; index++) writer.writeRecords(encoded([query(index)]), 1);
    writer.writeResults(encodedResults([resultOf(0)]), 1);
    await writer.close({ state: 'canceled', reason: 'manually stopped', leftOut: { secret: 3, other: 1 } });
    const names = (await readdir(folder)).sort();
    expect(names).toHaveLength(6);
    const [meta, results, first, second, ...timed] = names as [string, string, ...string[]];
    expect([meta, first, second]).toEqual(['meta', 'traffic-1.log.gz', 'traffic-2.log.gz']);
    expect(results).toMatch(/^results-2026-11-21T\d\d-\d\d-\d\d\.\d{3}\.log\.gz$/);
    for (const [index, name] of timed.entries()) {
      expect(name).toMatch(/^traffic-2026-11-21T\d\d-\d\d-\d\d\.\d{3}\.log\.gz$/);
      expect((await stat(join(folder, name))).ino).toBe((await stat(join(folder, `traffic-${index + 1}.log.gz`))).ino);
      expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
    }
    const text = await readFile(join(folder, 'meta'), 'utf8');
    expect(text).toMatch(/^\{"Version":"v1","Duration":\d+,"Cmds":2,"FilteredCmds":4,"EncryptMethod":"aes256-ctr","Binnacle":\{[^\n]*\}$/);
    expect(parseMeta(text).Binnacle).toMatchObject({
      version: '1.2.3', complete: true, state: 'canceled', reason: 'manually stopped', layers: 'encrypt-first', compressed: true, results: 1,
      leftOut: { secret: 3, other: 1 }, serverVersion: '11.8.3-MariaDB',
    });
    // A copy has no links: each file is there twice.
    const copy = join(folder, 'copy');
    await mkdir(copy);
    for (const name of names) await cp(join(folder, name), join(copy, name));
    for (const each of [folder, copy]) expect(texts((await read(each)).records)).toEqual(['select 0', 'select 1']);
  });
});

test('a folder with a capture, whole or not, takes no other', async () => {
  await withFolder(async (folder) => {
    await capture(folder, [1]);
    await expect(openWriter(folder)).rejects.toThrow(`${folder} holds a capture: file meta already exists`);
    await rm(join(folder, 'meta'));
    await expect(openWriter(folder)).rejects.toThrow(/holds files of another capture: (traffic|results)-/);
    await expect(openWriter('gs://bucket/x')).rejects.toThrow('not in "gs://bucket/x"');
  });
});

test('files of all releases of TiProxy are read in their order', async () => {
  const cases: string[][] = [
    ['traffic-2024-08-29T17-37-12.477.log', 'traffic-2024-08-29T17-37-13.000.log.gz', 'traffic.log'],
    ['traffic-1.log', 'traffic-2.log.gz', 'traffic-9.log', 'traffic-10.log', 'traffic-11.log.gz'],
    ['traffic-2025-09-10T17-01-56.07.log', 'traffic-2025-09-10T17-01-56.071.log.gz', 'traffic-2025-09-10T17-01-57.log', 'traffic-2025-09-10T17-01-57.1.log.gz'],
    ['traffic-2025-09-10T17-01-56.073.log.gz', 'traffic-2025-09-10T17-01-57.000.log.gz.part'],
  ];
  for (const names of cases) {
    await withFolder(async (folder) => {
      // All at the same time: the names alone decide.
      for (const [index, name] of names.entries()) {
        const bytes = encoded([{ ...query(0), payload: Buffer.from(`select ${index}`) }]);
        await writeFile(join(folder, name), name.includes('.gz') ? gzipSync(bytes) : bytes);
      }
      const warnings: string[] = [];
      await writeFile(join(folder, 'traffic-old.log'), 'x');
      const { records, results, reader } = await read(folder, { onWarning: (message) => warnings.push(message) });
      expect(texts(records)).toEqual(names.map((_, index) => `select ${index}`));
      expect([results, reader.hasResults, reader.commands, reader.sources[0]?.isComplete]).toEqual([[], false, undefined, false]);
      expect(warnings).toEqual(['traffic-old.log is not read: it has no name of a traffic file']);
    });
  }
});

test('captures of several processes are merged by time, each in its own order', async () => {
  await withFolder(async (folder) => {
    await capture(join(folder, 'node-1'), [0, 3, 6, 2]);
    await capture(join(folder, 'node-2'), [1, 3, 9], { layers: { isCompressed: false, order: 'encrypt-first', key } });
    await writeFile(join(folder, 'plans.json'), '{}');
    const { records, results, reader } = await read(folder);
    expect(records.map(({ source, timeUs }) => [source, timeUs - startMs * 1_000])).toEqual([[0, 0], [1, 1], [0, 3], [1, 3], [0, 6], [0, 2], [1, 9]]);
    expect(results.map(({ source, rows }) => [source, rows])).toEqual([[0, 0], [1, 1], [0, 3], [1, 3], [0, 6], [0, 2], [1, 9]]);
    expect(reader.sources.map(({ name }) => name)).toEqual(['node-1', 'node-2']);
    expect(reader.commands).toBe(7);
  });
});

test('a part of a capture that is not there is named, and parts of two captures are not taken for one', async () => {
  await withFolder(async (folder) => {
    const part = (node: string, worker: number, job = 'capture-1') => ({ part: { job, node, nodes: ['a', 'b', 'c'], worker, workers: [0, 1] } });
    await capture(join(folder, 'a-w0'), [0], part('a', 0));
    await capture(join(folder, 'b-w1'), [1], part('b', 1));
    expect((await read(folder)).reader.missing).toEqual(['proxy node c', 'worker 0 of proxy node b', 'worker 1 of proxy node a']);
    await capture(join(folder, 'a-w1'), [2], part('a', 1));
    // Sessions of these did nothing.
    for (const [node, worker] of [['b', 0], ['c', 0], ['c', 1]] as const) await capture(join(folder, `${node}-w${worker}`), [], part(node, worker));
    const { reader, records } = await read(folder);
    expect([reader.missing, records.length]).toEqual([[], 3]);
    await capture(join(folder, 'd'), [3], part('a', 0, 'capture-2'));
    await expect(read(folder)).rejects.toThrow(`${folder} holds parts of different captures: capture-1, capture-2`);
  });
});

test('what the meta says of a part is believed only if it is one', () => {
  const part = { job: 'j', node: 'a', nodes: ['a'], worker: 0, workers: [0] };
  expect(parsePart(part)).toEqual(part);
  for (const wrong of [undefined, null, 7, [], { ...part, job: 1 }, { ...part, nodes: 'a' }, { ...part, nodes: [1] }, { ...part, workers: ['0'] }, { ...part, worker: '0' }]) expect(parsePart(wrong)).toBeUndefined();
});

test('what cannot be replayed is said clearly', async () => {
  await withFolder(async (folder) => {
    await expect(read(join(folder, 'none'))).rejects.toThrow(`there is no ${folder}/none`);
    await expect(read(folder)).rejects.toThrow(`there are no traffic files in ${folder}: it is empty`);
    for (let index = 0; index < 12; index++) await writeFile(join(folder, `tidb-audit-${index + 10}.log`), 'x');
    await expect(read(folder)).rejects.toThrow(/: it holds tidb-audit-\d\d\.log, .* and 2 more$/);
    const encrypted = join(folder, 'capture');
    await capture(encrypted, [1], { layers: { isCompressed: true, order: 'compress-first', key } });
    await expect(read(encrypted, { key: Buffer.alloc(32) })).rejects.toThrow(/^the key does not fit: traffic-/);
    await expect(TrafficReader.open({ input: encrypted, store })).rejects.toThrow('is encrypted (aes256-ctr): a key is needed');
    await rm(join(encrypted, 'meta'));
    await expect(TrafficReader.open({ input: encrypted, store })).rejects.toThrow('is no traffic file, or it is encrypted and a key is needed');
    await writeFile(join(encrypted, 'meta'), '{"EncryptMethod":"rot13"}');
    await expect(read(encrypted)).rejects.toThrow('meta: unsupported encrypt method: rot13');
  });
});

test('damage is said with its file and place, and left out where that is asked for', async () => {
  await withFolder(async (folder) => {
    const good = encoded(Array.from({ length: 4_000 }, (_, index) => query(index, seededRandom(index).bytes(200))));
    const zipped = gzipSync(good);
    const half = Math.floor(zipped.length / 2);
    zipped.fill(0xff, half, half + 100);
    await writeFile(join(folder, 'traffic-1.log.gz'), zipped);
    await writeFile(join(folder, 'traffic-2.log'), encoded([query(5_000)]));
    await expect(read(folder)).rejects.toThrow(/^traffic-1\.log\.gz, byte \d+: /);
    const damage: string[] = [];
    const { records } = await read(folder, { onDamage: ({ message }) => damage.push(message) });
    expect(damage.at(-1)).toMatch(/^traffic-1\.log\.gz, byte \d+: the compressed file is damaged behind here \(/);
    expect(records.at(-1)?.payload).toEqual(Buffer.from('select 5000'));
    await truncate(join(folder, 'traffic-2.log'), 20);
    await writeFile(join(folder, 'traffic-1.log.gz'), gzipSync(good).subarray(0, 300_000));
    const warnings: string[] = [];
    const cut = await read(folder, { onWarning: (message) => warnings.push(message) });
    expect(cut.records.length).toBeGreaterThan(1_000);
    expect(warnings).toEqual([expect.stringContaining('traffic-1.log.gz ends in the middle of a line or record'), expect.stringContaining('traffic-2.log ends')]);
  });
});

test('truncated captures are read as far as they go', async () => {
  for (const layers of combinations) {
    await withFolder(async (folder) => {
      await capture(folder, [...Array(20).keys()], { layers });
      for (const name of await readdir(folder)) if (/^traffic-\d\.|^traffic-1\d/.test(name)) await rm(join(folder, name));
      const random = seededRandom(7);
      for (;;) {
        const names = (await readdir(folder)).filter((name) => name !== 'meta');
        const name = random.oneOf(names);
        const { size } = await stat(join(folder, name));
        if (size < 40) break;
        await truncate(join(folder, name), size - 1 - random.below(Math.min(size, 200)));
        const { records, results } = await read(folder).catch((error: Error) => {
          // Too little is left to tell that the key fits.
          expect(error.message).toMatch(/^the key does not fit|is no traffic file/);
          return { records: [], results: [] };
        });
        expect(texts(records)).toEqual(records.map((_, index) => `select ${index}`));
        expect(results).toEqual(results.map((_, index) => resultOf(index)));
      }
    });
  }
});

test('who brings more than the disk takes is refused at once, and what was taken is written', async () => {
  await withFolder(async (folder) => {
    const failures: string[] = [];
    const writer = await openWriter(folder, { queueBytesMax: 1_000, onFailure: ({ message }) => failures.push(message) });
    let taken = 0;
    while (writer.writeRecords(encoded([query(taken)]), 1)) taken++;
    expect(taken).toBeGreaterThan(5);
    expect(writer.writeRecords(encoded([query(taken)]), 1)).toBe(false);
    expect(failures).toEqual([expect.stringMatching(/^writing to .* is too slow: \d+ bytes wait for it$/)]);
    await expect(writer.close(done)).rejects.toThrow('is too slow');
    const warnings: string[] = [];
    const { records, reader } = await read(folder, { onWarning: (message) => warnings.push(message) });
    expect(records).toHaveLength(taken);
    expect(reader.sources[0]?.meta?.Binnacle).toMatchObject({ state: 'failed', reason: failures[0], complete: false });
    expect(warnings).toEqual([`the capture in ${folder} is not complete: ${failures[0]}`]);
  });
});

(canMount ? test : test.skip)('a full disk ends the capture with its reason, and what is on it can be read', async () => {
  await withFolder(async (folder) => {
    const disk = new SmallDisk(join(folder, 'disk'), 512);
    try {
      const failures: string[] = [];
      const writer = await openWriter(disk.folder, { onFailure: ({ message }) => failures.push(message) });
      let written = 0;
      await waitUntil(() => {
        for (let count = 0; count < 20 && writer.failure === undefined; count++) if (writer.writeRecords(encoded([query(written, randomBytes(16_000))]), 1)) written++;
        return writer.failure !== undefined;
      }, { what: 'the disk is full', timeoutMs: 60_000, intervalMs: 1 });
      expect(failures).toEqual([expect.stringContaining('ENOSPC')]);
      await expect(writer.close(done)).rejects.toThrow('ENOSPC');
      const { records, reader } = await read(disk.folder);
      expect(records.length).toBeGreaterThan(10);
      expect(reader.sources[0]).toMatchObject({ isComplete: false });
    } finally {
      disk.unmount();
    }
  });
});

test('a reader that is left early closes its files', async () => {
  await withFolder(async (folder) => {
    await capture(folder, [...Array(100).keys()]);
    const before = (await readdir('/proc/self/fd')).length;
    for (let count = 0; count < 20; count++) {
      const reader = await TrafficReader.open({ input: folder, store });
      const records = reader.records();
      expect(await records.next()).toMatchObject({ done: false });
      await records.return(undefined);
      await reader.close();
    }
    await waitUntil(async () => (await readdir('/proc/self/fd')).length <= before + 2, { what: 'the files are closed' });
  });
});

test('files larger than memory allows are read in pieces', async () => {
  await withFolder(async (folder) => {
    const chunk = encoded(Array.from({ length: 4_000 }, (_, index) => query(index, Buffer.alloc(1_000, 'x'))));
    const file = await open(join(folder, 'traffic-1.log'), 'w');
    for (let count = 0; count < 60; count++) await file.write(chunk);
    await file.close();
    await rename(join(folder, 'traffic-1.log'), join(folder, 'traffic-2026-11-21T09-05-07.000.log'));
    const reader = await TrafficReader.open({ input: folder, store });
    let count = 0;
    const before = process.memoryUsage().rss;
    let peak = 0;
    for await (const { payload } of reader.records()) {
      if (payload.length !== 1_000) throw new Error('another payload');
      if (++count % 10_000 === 0) peak = Math.max(peak, process.memoryUsage().rss - before);
    }
    expect(count).toBe(240_000);
    expect(peak).toBeLessThan(150 * 2 ** 20);
    await reader.close();
  });
});
