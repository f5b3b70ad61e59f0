import type { LogOperation } from '../log/log-record.js';
import type { AppliedBatch } from './engine.js';
import type { TableFigures } from './row.js';

/** Of the tables that the batches write to, whose figures were `before`. `present`, which changes: the rows that are there now, of batches without `rowsAdded`. */
export function figuresAfter(batches: readonly AppliedBatch[], before: ReadonlyMap<number, TableFigures>, present: Set<string>): Map<number, TableFigures> {
  const figures = new Map<number, TableFigures>();
  for (const { operations, rowsAdded } of batches) {
    // A batch is about one table, and a drop is alone in it.
    const [first] = operations;
    if (first === undefined) continue;
    const { tableId } = first;
    const { rows, largestBytes } = figures.get(tableId) ?? before.get(tableId) ?? { rows: 0, largestBytes: 0 };
    if (isDrop(first)) {
      figures.set(tableId, { rows: 0, largestBytes });
      for (const key of present) if (key.startsWith(`${tableId} `)) present.delete(key);
    } else {
      const largest = operations.reduce((max, { document }) => Math.max(max, document?.length ?? 0), largestBytes);
      figures.set(tableId, { rows: rows + (rowsAdded ?? addedTo(present, operations)), largestBytes: largest });
    }
  }
  return figures;
}

export function isDrop({ handle, document }: Pick<LogOperation, 'handle' | 'document'>): boolean {
  return handle.length === 0 && document === undefined;
}

/** By how many rows the operations make the table larger, whose rows are in `present` before and after. */
function addedTo(present: Set<string>, operations: readonly LogOperation[]): number {
  let added = 0;
  for (const { tableId, handle, document } of operations) {
    const key = presenceKey(tableId, handle);
    added += Number(document !== undefined) - Number(present.has(key));
    if (document === undefined) present.delete(key);
    else present.add(key);
  }
  return added;
}

/** How a row is named in `present`. */
export function presenceKey(tableId: number, handle: Buffer): string {
  return `${tableId} ${handle.toString('latin1')}`;
}
