import { mkdir, readdir, realpath, rename, rm } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { copyFiles } from './copy-tree.js';
import { syncPath } from './file-digest.js';
import { listFiles } from './manifest.js';
import { verifySnapshot } from './verify-snapshot.js';

const restoring = '.restoring';
/** In the root of every ext4 volume. */
const notOurs = 'lost+found';

/**
 * Makes an empty folder, or one that is not there yet, the data folder that a snapshot was taken of. The snapshot is verified first; in the
 * folder nothing but `.restoring` appears until all of it is copied and on disk. Rejects with an Error that says what is wrong; nothing
 * is left in the folder then. Waits for the disk: for command lines.
 */
export async function restoreSnapshot(
  snapshot: string,
  dataDir: string,
  onProgress: (what: 'verified' | 'copied', doneBytes: number, totalBytes: number) => void,
): Promise<void> {
  checkApart(resolve(snapshot), resolve(dataDir));
  const from = await realpath(snapshot);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const to = await realpath(dataDir);
  checkApart(from, to);
  const present = await namesIn(to);
  if (present.length > 0) throw new Error(`${dataDir} is not empty (${present.slice(0, 3).join(', ')}): a restore replaces nothing, choose an empty folder`);
  const { manifest, problems } = await verifySnapshot(from, (done, total) => onProgress('verified', done, total));
  if (problems.length > 0) throw new Error(`the snapshot is damaged, nothing was restored:\n${problems.join('\n')}`);
  const draft = join(to, restoring);
  try {
    await mkdir(draft, { mode: 0o700 });
    await copyAll(from, draft, manifest.files, onProgress);
    // The rows last: without them it is an empty data folder, not a broken one.
    const names = (await readdir(draft)).toSorted((a, b) => Number(a === 'storage') - Number(b === 'storage'));
    for (const name of names) await rename(join(draft, name), join(to, name));
    await rm(draft, { recursive: true });
    syncPath(to);
  } catch (error) {
    for (const name of await namesIn(to)) await rm(join(to, name), { recursive: true, force: true });
    throw error;
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name !== notOurs);
}

async function copyAll(
  from: string,
  to: string,
  files: readonly { path: string; bytes: number }[],
  onProgress: (what: 'copied', doneBytes: number, totalBytes: number) => void,
): Promise<void> {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  const onFile = (path: string, bytes: number): void => {
    syncPath(join(to, path));
    onProgress('copied', (done += bytes), total);
  };
  await copyFiles(from, to, files.map(({ path }) => path), { onFile });
  for (const folder of [...(await listFiles(to)).folders.toReversed(), '.']) syncPath(join(to, folder));
}

function checkApart(snapshot: string, dataDir: string): void {
  const isInside = (folder: string, path: string): boolean => !relative(folder, path).startsWith('..');
  if (isInside(snapshot, dataDir) || isInside(dataDir, snapshot)) throw new Error(`${dataDir} and the snapshot lie in each other: choose another folder`);
}
