import { type ObjectFacts, type ObjectStore, ObjectStoreUnavailable, type OperationOptions } from '@binnacle/object-store/object-store';
import { parseSnapshotHead, type SnapshotHead, snapshotHeadBytes, snapshotManifestKey, snapshotOf } from './snapshot-object.js';

/** An attempt to make a snapshot that is under way, as far as its manifest says. */
export interface StalledSnapshot {
  readonly name: string;
  readonly folder: string;
  readonly etag: string;
  readonly lastModifiedMs: number;
}

export interface AbandonedFolder {
  readonly stalled: StalledSnapshot | undefined;
  readonly files: readonly ObjectFacts[];
}

/** Folders of snapshots that are not complete, one after the other. Those under way are among them: only the clock tells whether somebody is still at it. */
export async function* findAbandoned(store: ObjectStore, options: OperationOptions, onOther: (facts: ObjectFacts) => void): AsyncGenerator<AbandonedFolder> {
  let current: { name: string; folder: string; files: ObjectFacts[] } | undefined;
  for await (const facts of store.list('snapshots/', options)) {
    const found = snapshotOf(facts.key);
    if (found === undefined) onOther(facts);
    if (found?.folder === undefined) continue;
    if (current?.name !== found.name || current.folder !== found.folder) {
      if (current !== undefined) yield* abandoned(store, current, options);
      current = { name: found.name, folder: found.folder, files: [] };
    }
    current.files.push(facts);
  }
  if (current !== undefined) yield* abandoned(store, current, options);
}

/** Nothing for a snapshot that is complete, or whose manifest cannot be read: then it may be. It is read after the files were listed. */
async function* abandoned(store: ObjectStore, { name, folder, files }: { name: string; folder: string; files: readonly ObjectFacts[] }, options: OperationOptions): AsyncGenerator<AbandonedFolder> {
  const manifest = await readHead(store, name, options).catch((error: unknown) => {
    if (error instanceof ObjectStoreUnavailable || options.signal?.aborted) throw error;
    return 'unreadable' as const;
  });
  if (manifest === 'unreadable') return;
  const isNamed = manifest?.folder === folder && manifest.state !== 'abandoned';
  if (isNamed && manifest.state === 'complete') return;
  yield { stalled: isNamed ? { name, folder, etag: manifest.etag, lastModifiedMs: manifest.lastModifiedMs } : undefined, files };
}

/** What a snapshot's manifest says that it is. Undefined: there is none. Rejects on one that is damaged. */
export async function readHead(store: ObjectStore, name: string, options: OperationOptions): Promise<(SnapshotHead & Pick<ObjectFacts, 'etag' | 'lastModifiedMs'>) | undefined> {
  const key = snapshotManifestKey(name);
  for (;;) {
    const before = await store.head(key, options);
    if (before === undefined) return undefined;
    const text = (await store.getRange(key, { offset: 0, length: Math.min(Math.max(1, before.bytes), snapshotHeadBytes) }, options)).toString('latin1');
    // Whoever replaced it in between may have done so by something else.
    const { etag, lastModifiedMs } = before;
    if ((await store.head(key, options))?.etag === etag) return { ...parseSnapshotHead(text), etag, lastModifiedMs };
  }
}
