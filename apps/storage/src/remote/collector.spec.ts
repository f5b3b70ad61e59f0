import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClusterStateUnavailable } from '@binnacle/cluster-state/cluster-state';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Registry } from 'prom-client';
import { hourMs, TestableBucket } from '../../test/testable-bucket.js';
import { openFolder } from '../../test/testable-uploads.js';
import type { Catalog } from '../tables/catalog.js';
import { type CatalogDocument, emptyCatalog, remoteStoreHolder, withoutDropped } from '../tables/catalog-document.js';
import { Collector } from './collector.js';
import type { RemoteStore } from './remote-store.js';

let folder: string;
let count = 0;
beforeAll(() => void (folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'binnacle-collector-'))));
afterAll(() => rmSync(folder, { recursive: true }));

/** A collector with only what it needs of a node. */
class Given {
  readonly clock = new FakeClock();
  readonly metrics = new Registry();
  term: number | undefined = 1;
  runs = 0;
  catalog: CatalogDocument = { ...emptyCatalog, nextTableId: 3, dropped: [{ id: 2, nodes: [remoteStoreHolder] }] };
  isStateAway = false;
  readonly collector: Collector;

  constructor(readonly bucket: TestableBucket) {
    const candidacy = { isOwner: () => this.term !== undefined, term: () => this.term };
    const log = { info: () => undefined, warn: () => undefined };
    const node = { id: 'n1', clock: this.clock, metrics: this.metrics, log, candidacies: new Map([['remote-gc', candidacy]]), addPart: () => undefined } as unknown as NodeContext;
    const catalog = {
      stored: async () => {
        this.runs += 1;
        if (this.isStateAway) throw new ClusterStateUnavailable('away');
        return this.catalog;
      },
      dropped: () => this.catalog.dropped,
      forgetDropped: async (ids: ReadonlySet<number>, holder: string) => void (this.catalog = withoutDropped(this.catalog, ids, holder)),
    } as unknown as Catalog;
    this.collector = new Collector(node, { isOn: () => true, store: () => bucket.store } as unknown as RemoteStore, catalog);
  }

  /** Resolves when so much time has passed and nothing runs. */
  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms);
    await this.collector.idle();
  }

  async value(name: string): Promise<number | undefined> {
    return (await this.metrics.getSingleMetric(name)?.get())?.values[0]?.value;
  }
}

let given: Given;
beforeEach(async () => void (given = new Given(new TestableBucket(await openFolder(join(folder, `bucket-${count++}`))))));

test('it runs a minute after the start and then every hour, on the owner alone', async () => {
  given.term = undefined;
  await given.collector.join();
  await given.pass(2 * hourMs);
  expect(given.runs).toBe(0);
  given.term = 4;
  await given.pass(5_000);
  expect(given.runs).toBe(1);
  await given.pass(hourMs - 10_000);
  expect(given.runs).toBe(1);
  await given.pass(15_000);
  expect(given.runs).toBe(2);
  expect(await given.value('binnacle_remote_gc_runs_total')).toBe(2);
  expect(await given.value('binnacle_remote_gc_last_success_timestamp_seconds')).toBeGreaterThan(0);
  await given.collector.stop();
});

test('who wakes it gets a run at once, and one more when it is running already', async () => {
  await given.collector.join();
  given.collector.wake();
  given.collector.wake();
  await given.collector.idle();
  await waitUntil(() => given.runs === 2);
  given.term = undefined;
  given.collector.wake();
  await given.collector.idle();
  expect(given.runs).toBe(2);
  await given.collector.stop();
});

test('without cluster state it deletes nothing, and tries again within a minute', async () => {
  await given.collector.join();
  given.isStateAway = true;
  given.collector.wake();
  await given.collector.idle();
  await expect(given.collector.leaks()).rejects.toMatchObject({ code: 'CLUSTER_STATE_UNAVAILABLE' });
  const before = given.runs;
  given.isStateAway = false;
  await given.pass(66_000);
  expect(given.runs).toBe(before + 1);
  await given.collector.stop();
});

test('a dropped table is forgotten once the bucket is rid of it, and not while a node still has rows', async () => {
  const { bucket } = given;
  await bucket.region(2, 512, [await bucket.segment(2, 512, 'dropped')]);
  given.catalog = { ...given.catalog, dropped: [{ id: 2, nodes: ['n2', remoteStoreHolder] }] };
  const collect = async (): Promise<void> => {
    given.collector.wake();
    await given.collector.idle();
    await bucket.pass(hourMs + 1_000);
  };
  await collect();
  expect((await given.collector.leaks()).counts).toMatchObject({ marked: { objects: 2 } });
  await collect();
  await collect();
  expect(await bucket.keys()).toEqual([]);
  expect(given.catalog.dropped).toHaveLength(1);
  given.catalog = { ...given.catalog, dropped: [{ id: 2, nodes: [remoteStoreHolder] }] };
  await collect();
  expect(given.catalog.dropped).toEqual([]);
  expect(await given.value('binnacle_remote_gc_deleted_objects_total')).toBe(2);
  expect(await given.value('binnacle_remote_gc_delete_marks_total')).toBe(2);
});

test('leaks are counted by what becomes of them, and the list ends somewhere', async () => {
  const { bucket } = given;
  for (let index = 0; index < 1_001; index++) await bucket.segment(9, 9 * 256, `of-nobody-${index}`);
  await bucket.segment(2, 512, 'dropped');
  await bucket.pass(hourMs + 1_000);
  const { counts, leaks, isComplete } = await given.collector.leaks();
  expect(counts).toMatchObject({ young: { objects: 0 }, due: { objects: 1 }, marked: { objects: 0 }, kept: { objects: 1_001 } });
  expect([leaks.length, isComplete]).toEqual([1_000, false]);
  expect(leaks[0]).toMatchObject({ key: 'regions/2/512/segments/dropped.parquet', reason: 'dropped table', state: 'due', markedAt: null });
});
