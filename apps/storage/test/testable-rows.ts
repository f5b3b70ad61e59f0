import { BinnacleError } from '@binnacle/contracts/errors';
import { type Clock, systemClock } from '@binnacle/cluster-state/clock';
import { NodeConfig } from '@binnacle/node-kit/config';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import type { OwnRegions } from '../src/regions/own-regions.js';
import type { RemoteStore } from '../src/remote/remote-store.js';
import { RegionRows } from '../src/regions/region-rows.js';
import { RowStore } from '../src/row-store.js';
import type { Catalog } from '../src/tables/catalog.js';
import type { Table } from '../src/tables/schema.js';

export interface TestableRows {
  readonly store: RowStore;
  readonly metrics: Registry;
  /** What the node says it is short of. */
  shortage: 'OUT_OF_DISK' | 'OUT_OF_MEMORY' | undefined;
  /** Lines of the node's log, as objects. */
  readonly lines: { msg: string; [field: string]: unknown }[];
}

/** A started row store with only what it needs of a node. */
export async function openRows(dataDir: string, change: (config: NodeConfig) => void = () => {}, clock: Clock = systemClock): Promise<TestableRows> {
  const config = new NodeConfig();
  config.dataDir = dataDir;
  change(config);
  const metrics = new Registry();
  const lines: TestableRows['lines'] = [];
  const rows = { metrics, lines, shortage: undefined } as Omit<TestableRows, 'store'>;
  const node = {
    config,
    clock,
    metrics,
    log: pino({}, { write: (line: string) => void lines.push(JSON.parse(line) as TestableRows['lines'][number]) }),
    resources: { resourceError: () => rows.shortage },
    addPart: () => undefined,
  };
  const store = new RowStore(node as unknown as NodeContext);
  await store.start();
  return Object.assign(rows, { store });
}

/** As if every region were this node's, but for rows that are away. */
export function ownRows(store: RowStore, newest: (table: Table) => Table, isAway: (handle: Uint8Array) => boolean = () => false): RegionRows {
  const refusal = (_table: Table, handle: Uint8Array): BinnacleError | undefined => (isAway(handle) ? new BinnacleError('NO_TARGET', 'away') : undefined);
  return new RegionRows(store, { newest } as unknown as Catalog, { refusal } as unknown as OwnRegions, { isOn: () => false } as unknown as RemoteStore);
}
