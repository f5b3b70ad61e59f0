/*
 * SQL through the file cache against DuckDB alone on the same Parquet files in the bucket's folder, with as many threads and as much memory.
 * From the root, under Node.js 24, after a build:  node --conditions=@binnacle/source apps/storage/bench/scan.bench.ts [million rows] [rounds]
 *
 * Warm: both have read the files before; ours is timed from the text of the query to the last byte of its answer: parsing, checking, asking the write
 * node, planning and a new DuckDB in another process are in it. Sides take turns, medians count. Cold: what the cache fetches for the first query of each
 * kind, against the bytes of the columns that it needs. `overlapping`: the same with a tenth of the rows written anew, so that a run hides rows of another.
 */
import '../test/fixtures/typescript-hooks.mjs';
import { mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

// Only what is imported from here on goes through the hook.
const { DuckDBInstance } = await import('@duckdb/node-api');
const { computeTable } = await import('../test/compute-table.js');
const { TestableCompute } = await import('../test/testable-compute.js');
const { columnsOf } = await import('../src/remote/segment-columns.js');
const { describeSegment, writeSegment } = await import('../src/remote/segment-file.js');
const { segmentPrefix } = await import('../src/remote/manifest.js');

const million = Number(process.argv[2] ?? 10);
const rounds = Number(process.argv[3] ?? 5);
const segmentRows = 1_000_000;
const threads = 2;
const memoryMegabytes = 1_024;
const table = computeTable(1, { a: 'int64', b: 'int32', c: 'float', d: 'string', e: 'string', f: 'int64', g: 'bool', h: 'float' }, 1);
const regionId = (table.regions[0] as { id: number }).id;

const queries: readonly { readonly name: string; readonly columns: readonly string[]; readonly sql: string }[] = [
  { name: 'sum of one column', columns: ['a'], sql: 'SELECT sum(a) FROM table1' },
  { name: 'filter and average', columns: ['b', 'c'], sql: 'SELECT avg(c) FROM table1 WHERE b < 100' },
  { name: 'groups of a text', columns: ['d', 'f'], sql: 'SELECT d, count(*), max(f) FROM table1 GROUP BY d ORDER BY d' },
  { name: 'all eight columns', columns: ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'], sql: 'SELECT sum(a), sum(b), sum(c), max(d), max(e), sum(f), count_if(g), sum(h) FROM table1' },
];

// Nothing is merged meanwhile.
const mergeLimits = { freshSegments: 1_000, growth: 1_000, mergeBytesMax: 0 };
const compute = await TestableCompute.open({ tables: [table], regionCount: 1, mergeLimits, limits: { threads, memoryMegabytes, timeoutMs: 600_000 } });
const bucket = join(compute.folder, 'bucket');
const peer = await DuckDBInstance.create(':memory:', { threads: String(threads), memory_limit: `${memoryMegabytes}MiB` });
const connection = await peer.connect();

const median = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
const timed = async (run: () => Promise<unknown>): Promise<number> => {
  const startMs = performance.now();
  await run();
  return performance.now() - startMs;
};

/** A segment of every `step`-th row from `first` on, put into the manifest. */
async function addSegment(first: number, count: number, step: number, version: number): Promise<void> {
  const columns = columnsOf(table.fields);
  const key = `${segmentPrefix(1, regionId)}${String(version).padStart(12, '0')}.parquet`;
  const path = join(bucket, key);
  mkdirSync(join(path, '..'), { recursive: true });
  const rows = `SELECT printf('k%09d', n) AS _handle, (${version} + n)::BIGINT AS _version, false AS _deleted, n AS a, (hash(n) % 1000)::INTEGER AS b, (hash(n + 1) % 1000000) / 7 AS c,
    'group ' || (n % 50) AS d, 'text ' || (hash(n + 2) % 100000) AS e, (hash(n + 3) % 1000000000)::BIGINT AS f, n % 3 = 0 AS g, n * 0.5 AS h, '{}' AS _document
    FROM (SELECT ${first} + range * ${step} AS n FROM range(${count})) ORDER BY 1`;
  await writeSegment(connection, rows, path, count, count * 20);
  const described = await describeSegment(connection, path, columns, 1);
  if (described === undefined) throw new Error('a segment without rows');
  const known = await compute.follower.refresh(regionId);
  if (known === undefined) throw new Error('the region is not claimed');
  const segment = { ...described, key, level: step === 1 ? 1 : 0, createdAtMs: 0 };
  await compute.uploads.manifests.replace(known, { ...known.manifest, segments: [...known.manifest.segments, segment] });
  await compute.follower.refresh(regionId);
}

/** Bytes of the columns, in all segments. */
async function bytesOf(columns: readonly string[]): Promise<number> {
  const list = columns.map((column) => `'${column}'`).join(', ');
  const [[bytes] = []] = (await connection.runAndReadAll(`SELECT sum(total_compressed_size)::DOUBLE FROM parquet_metadata('${bucket}/regions/1/*/segments/*.parquet') WHERE path_in_schema IN (${list})`)).getRows();
  return Number(bytes);
}

async function compare(label: string, columnsBeside: readonly string[]): Promise<void> {
  for (const { name, columns, sql } of queries) {
    await compute.cache.evictByType('Unknown');
    const before = compute.cache.counters.missBytes;
    await compute.ask(sql);
    const fetched = (compute.cache.counters.missBytes - before) / (await bytesOf([...columns, ...columnsBeside]));
    const [ours, alone]: [number[], number[]] = [[], []];
    await connection.runAndReadAll(sql);
    for (let round = 0; round < rounds; round++) {
      ours.push(await timed(() => compute.ask(sql)));
      alone.push(await timed(() => connection.runAndReadAll(sql)));
    }
    const [our, their] = [median(ours), median(alone)];
    console.log(`${label} | ${name} | ours ${our.toFixed(0)} ms, DuckDB alone ${their.toFixed(0)} ms, ratio ${(their / our).toFixed(2)} | cold: fetched / needed ${fetched.toFixed(3)}`);
  }
}

try {
  for (let part = 0; part < million; part++) await addSegment(part * segmentRows, segmentRows, 1, part * segmentRows);
  const files = `${bucket}/regions/1/*/segments/*.parquet`;
  await connection.run(`CREATE OR REPLACE VIEW table1 AS SELECT _handle AS id, a, b, c, d, e, f, g, h FROM read_parquet('${files}')`);
  console.log(`${million} million rows x 8 columns, ${compute.follower.current(regionId)?.manifest.segments.length} segments, ${threads} threads`);
  await compare('one run', []);
  await addSegment(0, (million * segmentRows) / 10, 10, million * segmentRows);
  // The peer has to do the same: newest wins, by the simplest statement that is right.
  const newest = `${bucket}/${compute.follower.current(regionId)?.manifest.segments.at(-1)?.key}`;
  await connection.run(`CREATE OR REPLACE VIEW table1 AS SELECT * EXCLUDE (filename) FROM (SELECT * FROM read_parquet('${files}', filename = true) WHERE filename <> '${newest}') AS old
    ANTI JOIN (SELECT _handle FROM read_parquet('${newest}')) AS newer ON old._handle = newer._handle UNION ALL SELECT * FROM read_parquet('${newest}')`);
  await compare('overlapping', ['_handle']);
  console.log(`bucket: ${(compute.follower.current(regionId)?.manifest.segments ?? []).reduce((sum, { key }) => sum + statSync(join(bucket, key)).size, 0)} bytes`);
} finally {
  connection.closeSync();
  peer.closeSync();
  await compute.close();
  rmSync(compute.folder, { recursive: true, force: true });
}
