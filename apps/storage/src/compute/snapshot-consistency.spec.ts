import { afterEach, expect, test } from '@jest/globals';
import { computeTable } from '../../test/compute-table.js';
import { TestableCompute } from '../../test/testable-compute.js';

let compute: TestableCompute;

afterEach(async () => {
  await compute.close();
});

test('no answer is a mix of versions of a region, whatever is written, uploaded and merged meanwhile', async () => {
  const table = computeTable(1, { counter: 'int64' }, 1);
  compute = await TestableCompute.open({ tables: [table], regionCount: 1 });
  let counter = 0;
  let isOver = false;
  const until = async (work: () => Promise<void>): Promise<void> => {
    while (!isOver) await work();
  };
  await compute.put(table, { id: 'left', counter }, { id: 'right', counter });
  const writing = until(async () => {
    counter += 1;
    await compute.put(table, { id: 'left', counter }, { id: `other-${counter % 50}`, counter }, { id: 'right', counter });
  });
  const uploading = until(() => compute.upload());
  const seen: number[] = [];
  for (let round = 0; round < 40; round++) {
    const acknowledged = counter - 1;
    const [[one] = [], [two] = []] = await compute.find("SELECT counter FROM table1 WHERE id IN ('left', 'right')");
    expect([one, two]).toEqual([one, one]);
    expect(one as number).toBeGreaterThanOrEqual(acknowledged);
    seen.push(one as number);
  }
  isOver = true;
  await Promise.all([writing, uploading]);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
});
