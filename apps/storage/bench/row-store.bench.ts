/*
 * The row store against the bare rocksdb-native binding, which reads no row before it is written, keeps no versions and has no log of ours. From the root, under
 * Node.js 24:  node --conditions=@binnacle/source apps/storage/bench/row-store.bench.ts [documents] [rounds]
 *
 * Import: documents of 200 bytes under random ids, 1,000 a batch, each batch on disk before its answer. The peer writes the same batch and
 * then calls fdatasync on RocksDB's own log. Sides take turns, medians count. The folder is `$TMPDIR`: choose the disk by it.
 */
import '../test/fixtures/typescript-hooks.mjs';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import RocksDB from 'rocksdb-native';

// Only what is imported from here on goes through the hook.
const { openRows } = await import('../test/testable-rows.js');
type Rows = Awaited<ReturnType<typeof openRows>>;

const documentCount = Number(process.argv[2] ?? 1_000_000);
const rounds = Number(process.argv[3] ?? 3);
const batchSize = 1_000;
const readCount = Math.min(300_000, documentCount);
const handleBytes = 16;
const resolutionMs = 1;

const handles = Buffer.from(randomBytes((documentCount * handleBytes) / 2).toString('hex'), 'latin1');
const handleAt = (index: number): Buffer => handles.subarray(index * handleBytes, (index + 1) * handleBytes);
const documents = Array.from({ length: batchSize }, (_, index) => {
  const head = `{"id":"${index}","name":"`;
  return Buffer.from(`${head}${randomBytes(100).toString('hex').slice(0, 200 - head.length - 2)}"}`);
});

interface Import {
  readonly documentsPerSecond: number;
  readonly cpuSeconds: number;
  readonly eventLoopDelayMs: number;
  readonly eventLoopDelayMsMax: number;
}

/** `importBatch` resolves when the batch is on disk; `inFlight` of them run at a time. */
async function measureImport(importBatch: (first: number) => Promise<unknown>, inFlight: number): Promise<Import> {
  const delay = monitorEventLoopDelay({ resolution: resolutionMs });
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let first = next; first < documentCount; first = next) {
      next += batchSize;
      await importBatch(first);
    }
  };
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  delay.enable();
  await Promise.all(Array.from({ length: inFlight }, worker));
  delay.disable();
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return {
    documentsPerSecond: documentCount / seconds,
    cpuSeconds: (user + system) / 1e6,
    eventLoopDelayMs: delay.percentile(99) / 1e6 - resolutionMs,
    eventLoopDelayMsMax: delay.max / 1e6 - resolutionMs,
  };
}

async function rawImport(db: RocksDB): Promise<Import> {
  let log: FileHandle | undefined;
  const result = await measureImport(async (first) => {
    // The file changes with every flush; to ask each time would cost the peer a hop to another thread.
    if ((first / batchSize) % 32 === 0) {
      await log?.close();
      log = await open((await db.currentWalFile()).path.replace(/^\//, `${folderOf.get(db)}/`), 'r+');
    }
    const batch = db.write({ capacity: batchSize, autoDestroy: true });
    for (let index = 0; index < batchSize; index++) batch.tryPut(handleAt(first + index), documents[index] as Buffer);
    await batch.flush();
    await log?.datasync();
  }, 1);
  await log?.close();
  return result;
}

const ourImport = ({ store }: Rows, inFlight: number): Promise<Import> =>
  measureImport((first) => store.write(1, documents.map((put, index) => ({ handle: handleAt(first + index), put })), { durability: 'fsync' }), inFlight);

/** Point reads per second of random rows, `inFlight` at a time. */
async function measureReads(read: (handle: Buffer) => Promise<unknown>, inFlight: number, count: number): Promise<number> {
  const startMs = performance.now();
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) if (!(await read(handleAt(Math.floor(Math.random() * documentCount))))) throw new Error('a row is missing');
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (count * 1000) / (performance.now() - startMs);
}

const folderOf = new WeakMap<RocksDB, string>();
const folders: string[] = [];
function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-bench-'));
  folders.push(folder);
  return folder;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;
const megabytes = (folder: string): number => Math.round(Number(execFileSync('du', ['-s', '--block-size=1', folder], { encoding: 'utf8' }).split('\t')[0]) / 1e6);
const whole = (value: number): string => Math.round(value).toLocaleString('en');

function report(name: string, results: readonly Import[], peer: number | undefined): number {
  const rate = median(results.map((each) => each.documentsPerSecond));
  const cpu = median(results.map((each) => each.cpuSeconds)).toFixed(1);
  const delay = `p99 of the event loop delay ${median(results.map((each) => each.eventLoopDelayMs)).toFixed(1)} ms, max ${median(results.map((each) => each.eventLoopDelayMsMax)).toFixed(1)} ms`;
  console.log(`${name}: ${whole(rate)} documents/s${peer === undefined ? '' : ` (${(rate / peer).toFixed(2)} of the binding)`}, CPU ${cpu} s, ${delay}`);
  return rate;
}

try {
  const raw: Import[] = [];
  // An import over HTTP has four batches under way.
  const ours = new Map<string, { inFlight: number; results: Import[] }>([
    ['row store, one batch at a time', { inFlight: 1, results: [] }],
    ['row store, 4 batches in flight', { inFlight: 4, results: [] }],
  ]);
  const rawReads: number[] = [];
  const ourReads: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const folder = newFolder();
    const db = new RocksDB(folder);
    folderOf.set(db, folder);
    await db.ready();
    raw.push(await rawImport(db));
    let kept: Rows | undefined;
    for (const { inFlight, results } of ours.values()) {
      await kept?.store.stop();
      kept = await openRows(newFolder());
      results.push(await ourImport(kept, inFlight));
    }
    const { store } = kept as Rows;
    for (let turn = 0; turn < 3; turn++) {
      rawReads.push(await measureReads((handle) => db.get(handle), 64, readCount));
      ourReads.push(await measureReads((handle) => store.get(1, handle), 64, readCount));
    }
    await db.close();
    await store.stop();
    for (const each of folders.splice(0)) rmSync(each, { recursive: true });
  }
  const peer = report('binding, fdatasync after each batch', raw, undefined);
  for (const [name, { results }] of ours) report(name, results, peer);
  const rawRate = median(rawReads);
  const ourRate = median(ourReads);
  console.log(`point reads, 64 in flight: binding ${whole(rawRate)}/s, row store ${whole(ourRate)}/s (${(ourRate / rawRate).toFixed(2)})`);

  const folder = newFolder();
  const rows = await openRows(folder);
  const engine = join(folder, 'storage/engine');
  const sizes: string[] = [];
  for (const step of ['import', 'overwrite', 'compaction']) {
    if (step === 'compaction') await rows.store.compact(AbortSignal.timeout(600_000));
    else await ourImport(rows, 4);
    sizes.push(`after ${step} ${megabytes(engine)} MB (+ log ${megabytes(join(folder, 'storage/log'))} MB)`);
  }
  console.log(`on disk, no compression: ${sizes.join(', ')}`);
  await rows.store.stop();
} finally {
  for (const each of folders) rmSync(each, { recursive: true, force: true });
}
