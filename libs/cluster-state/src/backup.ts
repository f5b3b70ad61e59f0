import { existsSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { ClusterState, KeyedDocument } from './cluster-state.js';
import { EmbeddedClusterState } from './embedded-cluster-state.js';
import { checkDocumentWrite } from './limits.js';

const documentsFile = 'cluster-state.json';
const restoredFile = 'cluster-state.restored.json';

/**
 * Puts a consistent copy of the cluster state into a data folder: the documents, from which any kind of state can be filled again, and of embedded
 * state its own file too, with the terms of its leases. Leases themselves and the registry are not kept: they are about processes that run.
 */
export async function writeBackup(state: ClusterState, dataDir: string): Promise<void> {
  if (state instanceof EmbeddedClusterState) await state.copyTo(join(dataDir, 'cluster-state.db'));
  const documents = await state.documents();
  // For this user alone: it holds digests of keys.
  await writeFile(join(dataDir, documentsFile), `${JSON.stringify({ documents }, undefined, 2)}\n`, { mode: 0o600, flag: 'wx' });
}

/** Whether the data folder has a backup that `restoreBackup` has not taken yet. */
export function hasBackup(dataDir: string): boolean {
  return existsSync(join(dataDir, documentsFile));
}

/**
 * Writes those documents of a backup in the data folder that the cluster state has not got: after a restore into an empty Redis all of them, else
 * none. Does so once, then renames the file. Resolves with the keys written. Rejects with `ClusterStateUnavailable`, and with an Error on a
 * file that is no backup.
 */
export async function restoreBackup(state: ClusterState, dataDir: string): Promise<string[]> {
  const file = join(dataDir, documentsFile);
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return [];
  const writes = parseBackup(text, file).map(({ key, value }) => ({ key, value, expectedVersion: 0, requestId: randomUUID() }));
  for (const write of writes) checkDocumentWrite(write);
  const written: string[] = [];
  for (const write of writes) {
    if ((await state.writeDocument(write)).written) written.push(write.key);
  }
  await rename(file, join(dataDir, restoredFile));
  return written;
}

function parseBackup(text: string, file: string): KeyedDocument[] {
  let documents: unknown;
  try {
    ({ documents } = JSON.parse(text) as { documents: unknown });
  } catch {
    // Said below.
  }
  const isDocument = (each: Partial<KeyedDocument> | null): boolean => typeof each?.key === 'string' && typeof each.value === 'string';
  if (!Array.isArray(documents) || !documents.every(isDocument)) {
    throw new Error(`${file} is no backup of the cluster state: restore the snapshot again, or remove the file to start without it`);
  }
  return documents as KeyedDocument[];
}
