import { readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { snapshotOf } from '../remote/snapshot-object.js';
import { readHead } from '../remote/snapshot-garbage.js';
import { manifestName } from './manifest.js';
import { remoteSnapshotPath, removeRemoteSnapshot } from './remote-snapshot.js';

/** Where scheduled snapshots of a node are. */
export interface ScheduledPlace {
  /** As a client would ask for it. */
  pathOf(name: string): string;
  names(): Promise<string[]>;
  /** `beside`: the path of one that was just made. */
  remove(name: string, beside: string): Promise<void>;
}

export class FolderPlace implements ScheduledPlace {
  constructor(private readonly folder: string) {}

  pathOf(name: string): string {
    return join(this.folder, name);
  }

  async names(): Promise<string[]> {
    return readdir(this.folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
  }

  /** In the folder as it is without links. */
  async remove(name: string, beside: string): Promise<void> {
    const folder = dirname(beside);
    // Without its manifest it is no snapshot, also when the rest of the removal does not happen.
    await rm(join(folder, name, manifestName), { force: true });
    await rm(join(folder, name), { recursive: true, force: true });
  }
}

export class RemotePlace implements ScheduledPlace {
  constructor(
    private readonly store: () => ObjectStore,
    private readonly parent: string,
  ) {}

  pathOf(name: string): string {
    return remoteSnapshotPath(`${this.parent}/${name}`);
  }

  /** Of those that are complete. */
  async names(): Promise<string[]> {
    const names: string[] = [];
    for await (const { key } of this.store().list(`snapshots/${this.parent}/`)) {
      const found = snapshotOf(key);
      if (found === undefined || found.folder !== undefined) continue;
      if ((await readHead(this.store(), found.name, {}))?.state === 'complete') names.push(found.name.slice(this.parent.length + 1));
    }
    return names;
  }

  async remove(name: string): Promise<void> {
    await removeRemoteSnapshot(this.store(), `${this.parent}/${name}`);
  }
}
