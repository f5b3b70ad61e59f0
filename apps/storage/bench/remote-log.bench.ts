/*
 * What durability `remote` costs against `fsync`, in the same run: latency of a write of one document of 200 bytes, writes a second, and puts a write. From the
 * root, under Node.js 24:  node --conditions=@binnacle/source apps/storage/bench/remote-log.bench.ts [seconds] [rounds] [ceph]
 *
 * One region, so one chain of objects; more regions put side by side. Sides take turns, medians count. The folder store lies in `$TMPDIR`; with `ceph`
 * there is also a real S3 on this machine (one OSD in memory).
 */
import '../test/fixtures/typescript-hooks.mjs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

// Only what is imported from here on goes through the hook.
const { openRows } = await import('../test/testable-rows.js');
const { NodeConfig } = await import('@binnacle/node-kit/config');
const { systemClock } = await import('@binnacle/cluster-state/clock');
const { openObjectStore } = await import('@binnacle/object-store/open-object-store');
const { RegionLog } = await import('../src/regions/region-log.js');
type Store = Awaited<ReturnType<typeof openObjectStore>>;

const [seconds = 3, rounds = 3] = process.argv.slice(2, 4).map(Number);
const writersTried = [1, 16, 128];
const tableId = 1;

const folder = mkdtempSync(join(tmpdir(), 'binnacle-remote-log-'));
const rows = await openRows(join(folder, 'data'));
const document = Buffer.from(JSON.stringify({ id: 'x'.repeat(16), text: 'y'.repeat(160) }));
let puts = 0;
let next = 0;

const logOn = (store: Store, regionId: number) =>
  new RegionLog(() => store, systemClock, { tableId, regionId, term: 1, node: 'bench' }, 0, { objects: [], next: 1 }, () => {}, { put: (_seconds, isDone) => void (puts += Number(isDone)) });

type Write = () => Promise<unknown>;

async function writeRow(): Promise<{ handle: Buffer; version: number; document: Buffer }> {
  const handle = Buffer.from(`document-${next++ % 100_000}`);
  const [result] = await rows.store.write(tableId, [{ handle, put: document }], { durability: 'fsync' });
  return { handle, version: (result as { version: number }).version, document };
}

const sides = new Map<string, Write>([['fsync', writeRow]]);
const folderStore = await openObjectStore({ ...new NodeConfig().remote, url: pathToFileURL(join(folder, 'bucket')).href });
const folderLog = logOn(folderStore, 256);
sides.set('remote, folder', async () => folderLog.append([await writeRow()]));
let stop = async (): Promise<void> => {};
if (process.argv.includes('ceph')) {
  const { startCeph } = await import('@binnacle/testing/ceph');
  const { CreateBucketCommand, S3Client } = await import('@aws-sdk/client-s3');
  const ceph = await startCeph();
  Object.assign(process.env, ceph.env);
  const client = new S3Client({ endpoint: ceph.endpoint, forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: 'bench' }));
  client.destroy();
  const store = await openObjectStore({ ...new NodeConfig().remote, url: 's3://bench/r', s3Endpoint: ceph.endpoint, s3ForcePathStyle: true });
  await store.check();
  const log = logOn(store, 257);
  sides.set('remote, Ceph', async () => log.append([await writeRow()]));
  stop = async () => {
    await store.close();
    await ceph.stop();
  };
}

interface Measured {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly perSecond: number;
  readonly putsPerWrite: number;
}

async function measure(write: Write, writers: number): Promise<Measured> {
  const latencies: number[] = [];
  const putsBefore = puts;
  const untilMs = performance.now() + seconds * 1_000;
  const one = async (): Promise<void> => {
    for (let startMs = performance.now(); startMs < untilMs; startMs = performance.now()) {
      await write();
      latencies.push(performance.now() - startMs);
    }
  };
  await Promise.all(Array.from({ length: writers }, one));
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? 0;
  return { p50Ms: at(0.5), p99Ms: at(0.99), perSecond: latencies.length / seconds, putsPerWrite: (puts - putsBefore) / latencies.length };
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

for (const writers of writersTried) {
  const measured = new Map<string, Measured[]>([...sides.keys()].map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) for (const [name, write] of sides) measured.get(name)?.push(await measure(write, writers));
  const medianOf = (name: string, figure: keyof Measured): number => median((measured.get(name) ?? []).map((each) => each[figure]));
  for (const name of sides.keys()) {
    const ratio = medianOf(name, 'p50Ms') / medianOf('fsync', 'p50Ms');
    const figures = [
      `p50 ${medianOf(name, 'p50Ms').toFixed(2)} ms (${ratio.toFixed(1)} x fsync)`,
      `p99 ${medianOf(name, 'p99Ms').toFixed(1)} ms`,
      `${Math.round(medianOf(name, 'perSecond'))} writes/s`,
      `${medianOf(name, 'putsPerWrite').toFixed(3)} puts a write`,
    ];
    console.log(`${String(writers).padStart(3)} writers  ${name.padEnd(14)}  ${figures.join('  ')}`);
  }
}

await rows.store.stop();
await folderStore.close();
await stop();
rmSync(folder, { recursive: true, force: true });
