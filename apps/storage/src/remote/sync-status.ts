import { BinnacleError } from '@binnacle/contracts/errors';
import type { Table } from '../tables/schema.js';

/** A replica that is further behind does not count as in sync: TiFlash's figure. */
export const syncLagMsMax = 120_000;
const tableIdMax = 2n ** 63n - 1n;
const keyspaceIdMax = 2n ** 32n - 1n;

/** Throws BAD_REQUEST on what is no number of a table or keyspace. Tables beyond what a double can tell apart do not exist here. */
export function parseTableId(text: string): number {
  return parseId('table id', text, tableIdMax);
}

export function parseKeyspaceId(text: string): number {
  return parseId('keyspace id', text, keyspaceIdMax);
}

function parseId(what: string, text: string, max: bigint): number {
  if (/^\d{1,20}$/.test(text) && BigInt(text) <= max) return Number(text);
  throw new BinnacleError('BAD_REQUEST', `invalid ${what} in request: ${text.slice(0, 64)}`);
}

/** `N\nid id\n`: the regions of the table whose replica here lags little enough. None of a table that nobody knows. */
export function syncStatusText(table: Pick<Table, 'regions'> | undefined, lagMs: (regionId: number) => number): string {
  const ids = (table?.regions ?? []).map(({ id }) => id).filter((id) => lagMs(id) <= syncLagMsMax);
  return `${ids.length}\n${ids.join(' ')}\n`;
}
