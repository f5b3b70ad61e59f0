import { statSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { digestFile, syncPath } from './file-digest.js';
import type { SealAnswer, SealJob } from './seal.js';

/* Checksums of a snapshot's files, and all of it on disk: 2 GB take seconds, which no event loop has. */

const { folder, files, folders, known } = workerData as SealJob;
const port = parentPort!;
const answer = (message: SealAnswer): void => port.postMessage(message);

for (const path of files) {
  const full = join(folder, path);
  syncPath(full);
  const { bytes, identity } = identify(full);
  const sha256 = known.get(identity);
  if (sha256 === undefined) answer({ file: { path, ...digestFile(full, (read) => answer({ read })) }, identity });
  else {
    answer({ read: bytes });
    answer({ file: { path, bytes, sha256 }, identity });
  }
}
// From the inside out: a folder is durable once what it names is.
for (const path of [...folders.toReversed(), '.']) syncPath(join(folder, path));
answer({ done: true });

/** A table that did not change since it was read is the same inode with the same times. */
function identify(path: string): { bytes: number; identity: string } {
  const { dev, ino, size, mtimeNs } = statSync(path, { bigint: true });
  return { bytes: Number(size), identity: `${dev}:${ino}:${size}:${mtimeNs}` };
}
