import { createInterface } from 'node:readline';
import { FolderStore } from '../dist/folder-store.js';
import { PreconditionFailed } from '../dist/object-store.js';

/*
 * One of several processes on one folder. `create KEY` answers won or lost; `add KEY N` increments a counter N times by compare-and-set
 * and answers done.
 */
const [, , folder = ''] = process.argv;
const store = await FolderStore.open(folder, { timeoutMs: 20_000 });
const lost = (error) => {
  if (error instanceof PreconditionFailed) return false;
  throw error;
};
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const [what, key = '', times] = line.split(' ');
  if (what === 'create') {
    const won = await store.put(key, Buffer.from(String(process.pid)), { condition: 'absent' }).then(() => true, lost);
    console.log(won ? 'won' : 'lost');
    continue;
  }
  for (let done = 0; done < Number(times); ) {
    const found = await store.get(key);
    if (found === undefined) throw new Error(`${key} is gone`);
    const next = Buffer.from(String(Number(found.body.toString()) + 1));
    if (await store.put(key, next, { condition: found }).then(() => true, lost)) done++;
  }
  console.log('done');
}
await store.close();
