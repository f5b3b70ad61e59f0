import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { storeIdOf } from '@binnacle/contracts/store-id';
import { TestableBucket } from '../../test/testable-bucket.js';
import { openFolder } from '../../test/testable-uploads.js';
import { markKeyOf } from './delete-marks.js';
import { parseStoreIds, remoteInfo } from './remote-info.js';

let folder: string;
let bucket: TestableBucket;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-remote-info-'));
  bucket = new TestableBucket(await openFolder(folder));
});
afterAll(() => rmSync(folder, { recursive: true }));

test('segments are dt files and logs data files, those with a delete mark counted beside', async () => {
  const left = await bucket.segment(1, 256, 'left');
  await bucket.region(1, 256, [await bucket.segment(1, 256, 'live')]);
  await bucket.inner.put(markKeyOf(left.key), Buffer.from('{}'));
  const log = await bucket.log(1, 256, 1, 'rows');
  const bytes = (await bucket.inner.head(log))?.bytes;
  const [n1, n2] = [storeIdOf('n1'), storeIdOf('n2')];
  const expected = { store_id: n1, num_manifests: 1, num_keys: 4, data_file: { num: 1, num_delmark: 0, bytes }, dt_file: { num: 2, num_keys: 2, num_delmark: 1, bytes: 8 } };
  const empty = { store_id: n2, num_manifests: 0, num_keys: 0, data_file: { num: 0, num_delmark: 0, bytes: 0 }, dt_file: { num: 0, num_keys: 0, num_delmark: 0, bytes: 0 } };
  const info = (nodeIds: string[], wanted?: number[]) => remoteInfo(bucket.store, bucket.manifests, { nodeIds, wanted }, {});
  expect(await info(['n2'])).toEqual([expected, empty].sort((a, b) => a.store_id - b.store_id));
  expect(await info([], [n2])).toEqual([empty]);
  expect(await info([], [n1])).toEqual([expected]);
});

test('ids are whole numbers of 32 bits, joined by commas', () => {
  expect(parseStoreIds('1,2,2,4294967295')).toEqual([1, 2, 4_294_967_295]);
  for (const text of ['', 'a', '1,', ',1', '-1', '1.5', '4294967296', '1 2', '1'.repeat(20)]) expect([text, parseStoreIds(text)]).toEqual([text, undefined]);
});
