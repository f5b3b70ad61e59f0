/*
 * Searches while documents are overwritten as fast as the node takes them in, against the same node that does not slow writes down for its index.
 * From the root, under Node.js 24:  node --conditions=@binnacle/source apps/storage/bench/overwrite.bench.ts [documents] [seconds] [rounds]
 *
 * Documents of some 150 bytes with two text fields, two numbers and tags, 1,000 a write, four writes at a time; a search for the newest every
 * 100 ms, which has to wait for the index. The sides take turns, medians count.
 */
import '../test/fixtures/typescript-hooks.mjs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// Only what is imported from here on goes through the hook.
const { TestableSearch, tableOf } = await import('../test/testable-search.js');

const documentCount = Number(process.argv[2] ?? 100_000);
const seconds = Number(process.argv[3] ?? 20);
const rounds = Number(process.argv[4] ?? 3);
const batchSize = 1_000;
const writers = 4;
const searchEveryMs = 100;
const table = tableOf(1, { title: 'string', city: 'string facet', staff: 'int32', price: 'float', tags: 'string[] facet' });
const wordAt = (seed: number): string => `w${Math.floor((((seed * 7_919) % 10_007) / 10_007) ** 2 * 20_000).toString(36)}`;

function batchAt(first: number, generation: number): [string, string][] {
  return Array.from({ length: batchSize }, (_, position) => {
    const index = (first + position) % documentCount;
    const id = `d${(index * 2_654_435_761) % 4_294_967_296}`;
    const title = Array.from({ length: 6 }, (_word, at) => wordAt(index * 6 + at + generation)).join(' ');
    return [id, JSON.stringify({ id, title, city: `city${index % 50}`, staff: generation, price: ((index * 31) % 10_000) / 100, tags: [`t${index % 7}`] })];
  });
}

interface Side {
  readonly writesPerS: number;
  readonly searchMsMax: number;
  readonly searchMsMedian: number;
}

async function measure(indexLagMsMax: number): Promise<Side> {
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-overwrite-'));
  const search = await TestableSearch.open(folder, [table], (config) => {
    config.storage.indexLagMsMax = indexLagMsMax;
    config.storage.searchWaitMs = 600_000;
  });
  for (let first = 0; first < documentCount; first += batchSize) await search.putText(table, batchAt(first, 0));
  await search.find(table, { q: '*', per_page: 1 });
  const endMs = performance.now() + seconds * 1_000;
  let written = 0;
  const writing = Array.from({ length: writers }, async () => {
    while (performance.now() < endMs) {
      const first = written;
      written += batchSize;
      await search.putText(table, batchAt(first, 1 + Math.floor(first / documentCount)));
    }
  });
  const searchMs: number[] = [];
  const searching = (async () => {
    const waits: Promise<unknown>[] = [];
    while (performance.now() < endMs) {
      const beganMs = performance.now();
      waits.push(search.find(table, { q: wordAt(waits.length), query_by: 'title', per_page: 1 }).then(() => searchMs.push(performance.now() - beganMs)));
      await new Promise((resolve) => setTimeout(resolve, searchEveryMs));
    }
    await Promise.all(waits);
  })();
  await Promise.all([...writing, searching]);
  await search.close();
  rmSync(folder, { recursive: true });
  searchMs.sort((one, other) => one - other);
  return { writesPerS: written / seconds, searchMsMax: searchMs.at(-1) as number, searchMsMedian: searchMs[Math.floor(searchMs.length / 2)] as number };
}

const sides: Record<'paced' | 'unpaced', Side[]> = { paced: [], unpaced: [] };
for (let round = 0; round < rounds; round++) {
  sides.unpaced.push(await measure(600_000));
  sides.paced.push(await measure(2_000));
}
const median = (values: readonly number[]): number => values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] as number;
const figures = (of: readonly Side[]) => ({
  writesPerS: Math.round(median(of.map(({ writesPerS }) => writesPerS))),
  searchMsMax: Math.round(median(of.map(({ searchMsMax }) => searchMsMax))),
  searchMsMedian: Math.round(median(of.map(({ searchMsMedian }) => searchMsMedian))),
});
const [paced, unpaced] = [figures(sides.paced), figures(sides.unpaced)];
console.log({ unpaced, paced, longestWait: (paced.searchMsMax / unpaced.searchMsMax).toFixed(2), writes: (paced.writesPerS / unpaced.writesPerS).toFixed(2) });
process.exit();
