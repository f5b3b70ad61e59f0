import type RocksDB from 'rocksdb-native';
import type { Entry, Range } from 'rocksdb-native';

/**
 * What lies in a range at this moment, `together` entries read at a time and no more than that in memory: an iterator of the binding reads
 * ahead by a number of entries of its own. End it (`return`) when done with it: it keeps files.
 */
export async function* scanPages(db: RocksDB, range: Range, together: number): AsyncGenerator<Entry> {
  const moment = db.snapshot();
  try {
    for (let rest = range; ; ) {
      const page = await entries(moment, rest, together);
      yield* page;
      const last = page.at(-1);
      if (last === undefined || page.length < together) return;
      rest = { gt: last.key, ...(range.lt && { lt: range.lt }) };
    }
  } finally {
    await moment.close();
  }
}

/** The first `limit` at most. */
export async function entries(db: Pick<RocksDB, 'iterator'>, range: Range, limit: number): Promise<Entry[]> {
  const found: Entry[] = [];
  for await (const entry of db.iterator(range, { capacity: limit, limit })) found.push(entry);
  return found;
}
