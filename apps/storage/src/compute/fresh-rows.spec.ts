import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@binnacle/cluster-state/clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { computeTable } from '../../test/compute-table.js';
import { openRows } from '../../test/testable-rows.js';
import { emptyManifest } from '../remote/manifest-store.js';
import { regionIndexOf } from '../regions/region.js';
import type { Manifest } from '../remote/manifest.js';
import { type FreshAnswer, freshLine, type FreshRegionQuestion } from './fresh-format.js';
import { FreshRows, type RegionView } from './fresh-rows.js';
import { FreshRowsSource } from './fresh-rows-source.js';

const table = computeTable(1, { n: 'int64' }, 1);
const [{ id: regionId } = { id: 0 }] = table.regions;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-fresh-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

const handlesOf = ({ pin }: RegionView): string[] =>
  pin.parts.flatMap(({ path }) => readFileSync(path, 'utf8').trimEnd().split('\n').map((line) => line.split('\x01')[1] as string));

test('what an earlier write node of a region answers late is not mixed with the rows of its new one', async () => {
  let manifest: Manifest = { ...emptyManifest(1, regionId), term: 1, uploadedVersion: 10 };
  const current = () => ({ manifest, etag: `${manifest.term}`, seenAtMs: 0 });
  const asked: { node: string; after: number | undefined }[] = [];
  let answerLate = (): void => undefined;
  const late = new Promise<void>((resolve) => (answerLate = resolve));
  let newest = 15;
  const fresh = new FreshRows({
    folder: join(folder, 'fresh'),
    bytesMax: 2 ** 20,
    current,
    refresh: async () => current(),
    ask: async (node, [question]): Promise<FreshAnswer> => {
      asked.push({ node, after: question?.after });
      const isOld = node === 'n1';
      if (isOld) await late;
      const to = isOld ? 40 : newest;
      const line = freshLine(to, { tableId: 1, handle: Buffer.from(`${node} ${to}`), document: Buffer.from('{}') });
      const versionBase = isOld ? 0 : 1_000;
      return { regions: [{ regionId, state: 'rows', term: isOld ? 1 : 2, versionBase, to: versionBase + to, bytes: line.length, lineBytes: line.length }], rows: [line] };
    },
  });
  await fresh.start();
  const giveUp = new AbortController();
  const old = fresh.view({ id: regionId, writeNode: 'n1', term: 1 }, giveUp.signal).catch((error: unknown) => error);
  const region = { id: regionId, writeNode: 'n2', term: 2 };
  const { signal } = new AbortController();
  await waitUntil(() => asked.length === 1);
  manifest = { ...manifest, term: 2, versionBase: 1_000, uploadedVersion: 1_010 };
  expect(handlesOf(await fresh.view(region, signal))).toEqual(['"n2 15"']);
  answerLate();
  // The old one is asked again once its answer was taken in.
  await waitUntil(() => asked.filter(({ node }) => node === 'n1').length === 2);
  giveUp.abort(new Error('given up'));
  await old;
  newest = 16;
  const view = await fresh.view(region, signal);
  expect([asked.at(-1), view.version, handlesOf(view)]).toEqual([{ node: 'n2', after: 1_015 }, 1_016, ['"n2 15"', '"n2 16"']]);
  await fresh.stop();
});

test('a region that became ready while it was asked for is not answered for with a part of what was loaded', async () => {
  const rows = await openRows(folder);
  const write = async (id: string): Promise<void> => void (await rows.store.write(1, [{ handle: Buffer.from(id), put: Buffer.from('{}') }], { durability: 'fsync' }));
  await write('loaded first');
  let claim: { term: number; versionBase: number } | undefined;
  const source = new FreshRowsSource({
    clock: systemClock,
    log: { warn: () => undefined },
    rows: {
      logFolder: () => rows.store.logFolder(),
      durableVersion: () => rows.store.durableVersion(),
      appliedVersion: () => {
        const version = rows.store.appliedVersion();
        claim ??= { term: 1, versionBase: 0 };
        return version;
      },
      onDurable: (listener) => rows.store.onDurable(listener),
      keepLogFor: () => undefined,
    },
    tableById: () => table,
    claimed: () => claim,
    uploader: { position: () => 0, request: () => undefined, known: () => undefined },
    bytesMax: 2 ** 20,
  });
  await source.start();
  const questions: FreshRegionQuestion[] = [{ regionId, term: 1, after: 0 }];
  expect((await source.answer(questions)).regions).toEqual([{ regionId, state: 'elsewhere' }]);
  await write('loaded last');
  expect((await source.answer(questions)).regions).toMatchObject([{ state: 'rows', term: 1, to: 2 }]);
  await source.stop();
  await rows.store.stop();
});

test('a node that is the write node itself gets the rows of each region, and of no other', async () => {
  const twoRegions = computeTable(1, { n: 'int64' }, 2);
  const rows = await openRows(folder);
  const source = new FreshRowsSource({
    clock: systemClock,
    log: { warn: () => undefined },
    rows: rows.store,
    tableById: () => twoRegions,
    claimed: () => ({ term: 1, versionBase: 0 }),
    uploader: { position: () => 0, request: () => undefined, known: () => undefined },
    bytesMax: 2 ** 20,
  });
  await source.start();
  const current = (id: number) => ({ manifest: { ...emptyManifest(1, id), term: 1 }, etag: '1', seenAtMs: 0 });
  const fresh = new FreshRows({ folder: join(folder, 'fresh'), bytesMax: 2 ** 20, current, refresh: async (id) => current(id), ask: (_node, questions) => source.answer(questions) });
  await fresh.start();
  const { signal } = new AbortController();
  const handlesByRegion = async (): Promise<string[][]> => {
    const views = await Promise.all(twoRegions.regions.map(({ id }) => fresh.view({ id, writeNode: 'n', term: 1 }, signal)));
    return views.map((view) => handlesOf(view).map((handle) => JSON.parse(handle) as string));
  };
  expect(await handlesByRegion()).toEqual([[], []]);
  const ids = Array.from({ length: 20 }, (_, n) => `id ${n}`);
  for (const id of ids) await rows.store.write(1, [{ handle: Buffer.from(id), put: Buffer.from('{}') }], { durability: 'fsync' });
  const idsOf = (index: number) => ids.filter((id) => regionIndexOf(Buffer.from(id), 2) === index);
  expect(await handlesByRegion()).toEqual([idsOf(0), idsOf(1)]);
  await fresh.stop();
  await source.stop();
  await rows.store.stop();
});
