import { mkdir, readdir, realpath, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { isWithin } from '@binnacle/node-kit/path-without-links';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { copyFiles } from './copy-tree.js';
import { syncPath } from './file-digest.js';
import { listFiles } from './manifest.js';
import { downloadSnapshot, readRemoteManifest } from './remote-snapshot.js';
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
  const to = await emptyFolder(dataDir);
  checkApart(from, to);
  const { manifest, problems } = await verifySnapshot(from, (done, total) => onProgress('verified', done, total));
  if (problems.length > 0) throw new Error(`the snapshot is damaged, nothing was restored:\n${problems.join('\n')}`);
  await fillFolder(to, (draft) => copyAll(from, draft, manifest.files, onProgress));
}

/** The same from the remote store; every file is verified as it comes. */
export async function restoreRemoteSnapshot(store: ObjectStore, name: string, dataDir: string, onProgress: (what: 'copied', doneBytes: number, totalBytes: number) => void): Promise<void> {
  const to = await emptyFolder(dataDir);
  const snapshot = await readRemoteManifest(store, name);
  await fillFolder(to, async (draft) => {
    await downloadSnapshot(store, snapshot, draft, (done, total) => onProgress('copied', done, total));
    await syncFolders(draft);
  });
}

/** Resolves to what the folder is without links. */
async function emptyFolder(dataDir: string): Promise<string> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const to = await realpath(dataDir);
  const present = await namesIn(to);
  if (present.length > 0) throw new Error(`${dataDir} is not empty (${present.slice(0, 3).join(', ')}): a restore replaces nothing, choose an empty folder`);
  return to;
}

async function fillFolder(to: string, fill: (draft: string) => Promise<void>): Promise<void> {
  const draft = join(to, restoring);
  try {
    await mkdir(draft, { mode: 0o700 });
    await fill(draft);
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
  await syncFolders(to);
}

async function syncFolders(draft: string): Promise<void> {
  for (const folder of [...(await listFiles(draft)).folders.toReversed(), '.']) syncPath(join(draft, folder));
}

function checkApart(snapshot: string, dataDir: string): void {
  if (isWithin(snapshot, dataDir) || isWithin(dataDir, snapshot)) throw new Error(`${dataDir} and the snapshot lie in each other: choose another folder`);
}
