/*
 * How long writes pause while a snapshot is made or the rows are compacted, against the same node left in peace between them. From the root,
 * under Node.js 24, after a build:  node --conditions=@binnacle/source apps/storage/bench/snapshot.bench.ts [gigabytes] [writes per second]
 *
 * A node in a process of its own holds rows of 4 kB; 2,000 documents a second are written to it, ten a request, each request on disk before its
 * answer. Told are the longest time without any acknowledgement, the longest that one took, and by how much the node's event loop was late. The folder is `$TMPDIR`: choose the disk by
 * it; `/dev/shm` is the other file system.
 */
import '../test/fixtures/typescript-hooks.mjs';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

// Only what is imported from here on goes through the hook.
const { openRows } = await import('../test/testable-rows.js');
const { PacedWriter, pauses } = await import('../test/paced-writer.js');
const { StorageProcess } = await import('../test/storage-process.js');

const gigabytes = Number(process.argv[2] ?? 2);
const writesPerSecond = Number(process.argv[3] ?? 2_000);
const rowBytes = 4_096;
const batchSize = 500;
/** Of no collection: the search index has nothing to do with these rows. */
const tableId = 1_000;
const quietMs = 10_000;
/** The node measures with a timer of that many milliseconds, and counts them. */
const lagResolutionMs = 10;

async function fill(dataDir: string): Promise<void> {
  const { store } = await openRows(dataDir);
  const batches = Math.ceil((gigabytes * 1e9) / rowBytes / batchSize);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let batch = next++; batch < batches; batch = next++) {
      const text = randomBytes(rowBytes / 2).toString('hex');
      const changes = Array.from({ length: batchSize }, (_, row) => ({ handle: Buffer.from(`${batch}-${row}`), put: Buffer.from(`{"id":"${batch}-${row}","text":"${text}"}`) }));
      await store.write(tableId, changes, { durability: 'none' });
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  await store.stop();
}

const [dataDir, other] = [mkdtempSync(join(tmpdir(), 'binnacle-bench-')), mkdtempSync('/dev/shm/binnacle-bench-')];
try {
  const beganAtMs = performance.now();
  await fill(dataDir);
  console.log(`${gigabytes} GB of rows written in ${Math.round((performance.now() - beganAtMs) / 1_000)} s`);
  const roots = [join(dataDir, 'snapshots'), other].join(',');
  const node = await StorageProcess.start(dataDir, { BINNACLE_STORAGE_SNAPSHOT_ROOTS: roots, BINNACLE_LOG_LEVEL: 'info' });
  await node.ask('POST', '/collections', { name: 'load', fields: [{ name: 'text', type: 'string', index: false }] });
  const writer = new PacedWriter(node, 'load', writesPerSecond);
  writer.start();
  await delay(quietMs);

  /** Since the last time that this was asked, which begins anew. */
  const eventLoopDelay = async (): Promise<string> => {
    const { text } = await node.ask('GET', '/metrics');
    const [p99, max] = ['p99', 'max'].map((which) => Number(new RegExp(`^nodejs_eventloop_lag_${which}_seconds (\\S+)`, 'm').exec(text)?.[1]) * 1_000 - lagResolutionMs);
    return `p99 ${p99?.toFixed(0)} ms, max ${max?.toFixed(0)} ms`;
  };
  const measure = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    await eventLoopDelay();
    const fromMs = performance.now();
    await work();
    const toMs = performance.now();
    const delays = await eventLoopDelay();
    const { writes, gapMs, slowestMs } = pauses(writer.acknowledged, fromMs, toMs);
    const seconds = (toMs - fromMs) / 1_000;
    console.log(`${name}: ${seconds.toFixed(1)} s, ${Math.round(writes / seconds)} writes/s, longest pause ${gapMs.toFixed(0)} ms, slowest write ${slowestMs.toFixed(0)} ms, event loop late by ${delays}`);
  };
  const ask = async (path: string, body?: object): Promise<void> => {
    const { status, text } = await node.ask('POST', path, body);
    if (status >= 300) throw new Error(text);
    if (body !== undefined) console.log(`  ${text}`);
  };
  const steps: [string, () => Promise<unknown>][] = [
    ['first snapshot', () => ask('/agent/v1/snapshot', { path: join(dataDir, 'snapshots', 'first') })],
    ['second snapshot', () => ask('/agent/v1/snapshot', { path: join(dataDir, 'snapshots', 'second') })],
    ['snapshot on another file system', () => ask('/agent/v1/snapshot', { path: join(other, 'third') })],
    ['compaction', () => ask('/operations/db/compact')],
  ];
  for (const [name, work] of steps) {
    await measure('in peace', () => delay(quietMs));
    await measure(name, work);
  }
  await writer.stop();
  if (writer.failures.length > 0) throw new Error(`${writer.failures.length} writes failed: ${writer.failures[0]}`);
  await node.end('SIGTERM');
} finally {
  for (const folder of [dataDir, other]) rmSync(folder, { recursive: true, force: true });
}
