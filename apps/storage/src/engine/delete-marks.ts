import type RocksDB from 'rocksdb-native';
import type { WriteBatch } from 'rocksdb-native';
import { isMarkOf, markKey, versionOfMarkKey } from './row.js';
import { entries } from './scan-pages.js';

/**
 * The list of the delete marks, in the order of their versions, beside the rows: old ones are found without a look at every row. An entry is
 * written with its mark, and stays when the row comes back.
 */
export class DeleteMarks {
  /** Since the start. */
  written = 0;
  removed = 0;
  /** Those up to this version are gone. */
  #goneUpTo = 0;

  constructor(private readonly db: RocksDB) {}

  list(write: WriteBatch, version: number, rowKey: Buffer): void {
    write.tryPut(markKey(version), rowKey);
  }

  /** Of versions before `before`, the oldest `limit`. Resolves to how many were looked at. Nothing else may be written meanwhile. */
  async remove(before: number, limit: number): Promise<number> {
    if (before <= this.#goneUpTo + 1) return 0;
    const listed = await entries(this.db, { gt: markKey(this.#goneUpTo), lt: markKey(before) }, limit);
    const last = listed.at(-1);
    if (last !== undefined) {
      const read = this.db.read({ capacity: listed.length, autoDestroy: true });
      const reads = listed.map(({ value: rowKey }) => read.get(rowKey));
      read.tryFlush();
      const values = await Promise.all(reads);
      const write = this.db.write({ capacity: 2 * listed.length, autoDestroy: true });
      for (const [index, { key, value: rowKey }] of listed.entries()) {
        // The row may have come back since, or have been deleted once more.
        if (isMarkOf(versionOfMarkKey(key), values[index] ?? null)) write.tryDelete(rowKey);
        write.tryDelete(key);
      }
      await write.flush();
      this.removed += listed.length;
    }
    this.#goneUpTo = last === undefined || listed.length < limit ? before - 1 : versionOfMarkKey(last.key);
    return listed.length;
  }
}
