/*
 * Uploads against DuckDB alone, which COPYs the same documents from NDJSON to Parquet, with the same columns, in the same order and with the document as a column.
 * From the root, under Node.js 24 and after a build:  node --conditions=@binnacle/source apps/storage/bench/upload.bench.ts [rows] [rounds] [uploads]
 *
 * Ours reads the commit log, leaves of each handle the newest row, writes one segment a region (four of them) and puts it into a folder with an fsync. The sides
 * take turns; medians of CPU seconds count, all threads included. Then many uploads that overwrite half of the table, with merges:
 * how many bytes are written for one that was uploaded.
 */
import '../test/fixtures/typescript-hooks.mjs';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { DuckDBInstance } from '@duckdb/node-api';

// Only what is imported from here on goes through the hook.
const { systemClock } = await import('@binnacle/cluster-state/clock');
const { openRows } = await import('../test/testable-rows.js');
const { field, manifestsOf, openFolder, TestableUploads } = await import('../test/testable-uploads.js');

const rowCount = Number(process.argv[2] ?? 1_000_000);
const rounds = Number(process.argv[3] ?? 3);
const uploadCount = Number(process.argv[4] ?? 100);
const batchRows = 1_000;
const table = {
  id: 1,
  schemaVersion: 1,
  fields: [field('title', 'string'), field('author', 'string'), field('year', 'int32'), field('price', 'float'), field('stock', 'bool'), field('rank', 'int64'), field('tags', 'string[]'), field('body', 'string')],
};
const duckTypes = "{id: 'VARCHAR', title: 'VARCHAR', author: 'VARCHAR', year: 'INTEGER', price: 'DOUBLE', stock: 'BOOLEAN', rank: 'BIGINT', tags: 'VARCHAR[]', body: 'VARCHAR'}";

const documentOf = (index: number, edition: number): Buffer => {
  const spread = (index * 7_919 + edition * 104_729) % 1_000_003;
  return Buffer.from(
    JSON.stringify({
      id: `row-${String((index * 7_919) % 9_999_991).padStart(7, '0')}`, title: `Title ${spread} of ${index}`, author: `author ${spread % 5_000}`, year: 1_900 + (spread % 120),
      price: spread / 97, stock: spread % 3 > 0, rank: spread * 1_000_003, tags: [`tag ${spread % 50}`, `kind ${spread % 7}`], body: `Some words about ${spread}, and ${(spread * 31) % 999_983}`,
    }),
  );
};
const idOf = (document: Buffer): Buffer => document.subarray(7, document.indexOf('"', 7));

type Rows = Awaited<ReturnType<typeof openRows>>;
async function write({ store }: Rows, from: number, count: number, indexOf: (row: number) => number, edition: number): Promise<number> {
  let bytes = 0;
  for (let start = from; start < from + count; start += batchRows) {
    const changes = Array.from({ length: Math.min(batchRows, from + count - start) }, (_, offset) => {
      const put = documentOf(indexOf(start + offset), edition);
      bytes += put.length;
      return { handle: idOf(put), put };
    });
    await store.write(1, changes, { durability: 'none' });
  }
  return bytes;
}

interface Measured {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly parquetBytes: number;
}

async function measure(run: () => Promise<number>): Promise<Measured> {
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  const parquetBytes = await run();
  const { user, system } = process.cpuUsage(cpu);
  return { seconds: (performance.now() - startMs) / 1_000, cpuSeconds: (user + system) / 1e6, parquetBytes };
}

async function duckAlone(folder: string, ndjson: string): Promise<number> {
  const instance = await DuckDBInstance.create(':memory:', { threads: '2', temp_directory: join(folder, 'spilled') });
  const connection = await instance.connect();
  const path = join(folder, 'duck.parquet');
  // The text of a document is a column of its own in ours: here it is read a second time, as one.
  await connection.run(
    `COPY (SELECT id AS _handle, row_number() OVER () AS _version, false AS _deleted, * EXCLUDE (id, line), line AS _document FROM (
       SELECT * FROM read_json('${ndjson}', format='newline_delimited', columns=${duckTypes}) POSITIONAL JOIN
       (SELECT json AS line FROM read_ndjson_objects('${ndjson}'))) ORDER BY _handle) TO '${path}' (FORMAT parquet, COMPRESSION zstd)`,
  );
  connection.closeSync();
  instance.closeSync();
  return (await stat(path)).size;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;
const whole = (value: number): string => Math.round(value).toLocaleString('en');
function report(name: string, results: readonly Measured[], documentBytes: number): number {
  const cpu = median(results.map(({ cpuSeconds }) => cpuSeconds));
  const [{ parquetBytes }] = results as [Measured];
  console.log(
    `${name}: ${whole(rowCount / cpu)} rows and ${(documentBytes / 1e6 / cpu).toFixed(1)} MB of documents a CPU second (${cpu.toFixed(2)} CPU s, ${median(results.map(({ seconds }) => seconds)).toFixed(2)} s), ${(parquetBytes / 1e6).toFixed(1)} MB of Parquet`,
  );
  return cpu;
}

const folder = mkdtempSync(join(tmpdir(), 'binnacle-bench-'));
const large = (config: { storage: { logMegabytesMax: number; uploadMegabytes: number } }): void => {
  config.storage.logMegabytesMax = 10_000;
  config.storage.uploadMegabytes = 100_000;
};
try {
  const rows = await openRows(join(folder, 'rows'), large);
  const documentBytes = await write(rows, 0, rowCount, (row) => row, 0);
  const ndjson = join(folder, 'documents.ndjson');
  const file = createWriteStream(ndjson);
  for (let row = 0; row < rowCount; row++) if (!file.write(`${documentOf(row, 0).toString()}\n`)) await once(file, 'drain');
  await finished(file.end());
  const ours: Measured[] = [];
  const duck: Measured[] = [];
  for (let round = 0; round < rounds; round++) {
    const own = join(folder, `round-${round}`);
    const store = await openFolder(own);
    const uploads = new TestableUploads({ dataDir: own, clock: systemClock, rows: rows.store, store, tables: [table], regionCount: 4, change: large });
    await uploads.claim();
    await uploads.uploader.start();
    ours.push(
      await measure(async () => {
        await uploads.uploader.uploadNow();
        return (await manifestsOf(store, 1)).flatMap(({ segments }) => segments).reduce((sum, { bytes }) => sum + bytes, 0);
      }),
    );
    await uploads.stop();
    await store.close();
    rmSync(own, { recursive: true });
    duck.push(await measure(() => duckAlone(folder, ndjson)));
  }
  const duckCpu = report('DuckDB alone, COPY from NDJSON', duck, documentBytes);
  const ourCpu = report('log to published segments', ours, documentBytes);
  console.log(`ours takes ${(ourCpu / duckCpu).toFixed(2)} times its CPU`);
  await rows.store.stop();

  const again = await openRows(join(folder, 'again'), large);
  const store = await openFolder(join(folder, 'again'));
  const uploads = new TestableUploads({ dataDir: join(folder, 'again'), clock: systemClock, rows: again.store, store, tables: [table], regionCount: 4, change: large });
  await uploads.start();
  const each = Math.floor(rowCount / uploadCount);
  let [made, most] = [0, 0];
  const merging = await measure(async () => {
    for (let upload = 0; upload < uploadCount; upload++) {
      // Every second row is one there is already, anywhere in the table.
      await write(again, 0, each, (row) => (row % 2 === 0 || made === 0 ? made++ : (row * 7_919 + upload * 104_729) % made), upload);
      await uploads.uploader.uploadNow();
      await uploads.merger.mergeAll();
      most = Math.max(most, ...(await manifestsOf(store, 1)).map(({ segments }) => segments.length));
    }
    return 0;
  });
  const metrics = await uploads.metrics.metrics();
  const counter = (name: string): number => Number(new RegExp(`^${name} (\\S+)`, 'm').exec(metrics)?.[1]);
  const uploaded = counter('binnacle_remote_uploaded_bytes_total');
  const merged = counter('binnacle_remote_merged_bytes_total\\{direction="written"\\}');
  console.log(
    `${uploadCount} uploads of ${whole(each)} rows, half of them overwrites: ${(uploaded / 1e6).toFixed(1)} MB uploaded, ${(merged / 1e6).toFixed(1)} MB written by merges: ` +
      `${((uploaded + merged) / uploaded).toFixed(2)} bytes written for one uploaded; at most ${most} segments a region; ${merging.cpuSeconds.toFixed(1)} CPU s`,
  );
  await uploads.stop();
  await again.store.stop();
  await store.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
