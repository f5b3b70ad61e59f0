import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { digestFile } from './file-digest.js';
import { listFiles, type Manifest, readManifest } from './manifest.js';

export interface Verified {
  readonly manifest: Manifest;
  /** What is wrong, a line each; empty for a good snapshot. */
  readonly problems: readonly string[];
}

/**
 * Compares a snapshot with its manifest, every byte. Rejects with an Error when there is no manifest that can be trusted. Waits for the
 * disk: for command lines.
 */
export async function verifySnapshot(folder: string, onProgress = (_doneBytes: number, _totalBytes: number): void => {}): Promise<Verified> {
  const manifest = await readManifest(folder);
  const problems: string[] = [];
  const expected = new Set(manifest.files.map(({ path }) => path));
  const { files } = await listFiles(folder);
  for (const path of files) if (!expected.has(path)) problems.push(`${path} is not in the manifest: the snapshot was changed, or a node was started on it`);
  const total = manifest.files.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  for (const { path, bytes, sha256 } of manifest.files) {
    const full = join(folder, path);
    const size = (await lstat(full).catch(() => undefined))?.size;
    if (size === undefined) problems.push(`${path} is missing`);
    else if (size !== bytes) problems.push(`${path} has ${size} bytes, not ${bytes}`);
    else if (damage(full, sha256)) problems.push(`${path} is damaged: its checksum does not match`);
    onProgress((done += bytes), total);
  }
  return { manifest, problems };
}

function damage(path: string, sha256: string): boolean {
  try {
    return digestFile(path).sha256 !== sha256;
  } catch {
    // A disk that cannot be read has lost it as well.
    return true;
  }
}
