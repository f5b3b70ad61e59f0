/** One of several rows that are in order, more or less. */
interface Cursor<T> {
  readonly batches: AsyncGenerator<T[]>;
  batch: readonly T[];
  index: number;
}

/**
 * The rows of all, the earliest head first, and of equal ones that of the first row; each row keeps its own order, whatever its times say. So many rows are
 * few (one for every worker), and a scan of their heads is enough.
 */
export async function* merged<T>(rows: readonly AsyncGenerator<T[]>[], timeOf: (item: T) => number): AsyncGenerator<T> {
  const cursors: Cursor<T>[] = rows.map((batches) => ({ batches, batch: [], index: 0 }));
  try {
    for (let index = cursors.length - 1; index >= 0; index--) if (!(await advance(cursors[index]!))) cursors.splice(index, 1);
    while (cursors.length > 0) {
      let first = cursors[0]!;
      let firstTime = timeOf(first.batch[first.index]!);
      for (let index = 1; index < cursors.length; index++) {
        const cursor = cursors[index]!;
        const time = timeOf(cursor.batch[cursor.index]!);
        if (time >= firstTime) continue;
        first = cursor;
        firstTime = time;
      }
      const item = first.batch[first.index++]!;
      if (first.index === first.batch.length && !(await advance(first))) cursors.splice(cursors.indexOf(first), 1);
      yield item;
    }
  } finally {
    await Promise.all(rows.map((batches) => batches.return(undefined)));
  }
}

/** False: there is no more. */
async function advance<T>(cursor: Cursor<T>): Promise<boolean> {
  do {
    const { done, value } = await cursor.batches.next();
    if (done) return false;
    cursor.batch = value;
    cursor.index = 0;
  } while (cursor.batch.length === 0);
  return true;
}
