import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { missing } from './folder-error.js';

const batchKeysMax = 64;

/** Keys below a folder that begin with `prefix` and come after `after`, ascending by their bytes, in batches. Folders and files may vanish meanwhile. */
export async function* listFolder(folder: string, prefix: string, after: string): AsyncGenerator<string[]> {
  let batch: string[] = [];
  for await (const key of keysBelow(folder, prefix.slice(0, prefix.lastIndexOf('/') + 1), prefix, after)) {
    batch.push(key);
    if (batch.length < batchKeysMax) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

async function* keysBelow(root: string, parent: string, prefix: string, after: string): AsyncGenerator<string> {
  const entries = ((await readdir(join(root, parent), { withFileTypes: true }).catch(missing)) ?? []) as Dirent[];
  // With its slash a folder sorts as its keys do: `a-b` before `a/b` before `a0`.
  const names = entries.filter(({ name }) => !name.startsWith('.')).map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name));
  for (const name of names.sort(byCode)) {
    const path = parent + name;
    const isFolder = name.endsWith('/');
    if (!path.startsWith(prefix) && !(isFolder && prefix.startsWith(path))) continue;
    if (isFolder) {
      const isAllBefore = path < after && !after.startsWith(path);
      if (!isAllBefore) yield* keysBelow(root, path, prefix, after);
    } else if (path > after) yield path;
  }
}

/** Of ASCII text, the order of bytes. */
function byCode(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
