import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { isInMode } from '@binnacle/contracts/disagg-mode';
import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { RemoteStore } from '../remote/remote-store.js';
import type { Table } from '../tables/schema.js';
import { placedRegions } from './assignment.js';

/** Where the regions of a new table go. */
@Injectable()
export class Placement {
  constructor(
    private readonly node: NodeContext,
    private readonly remote: RemoteStore,
  ) {}

  /** Over all live write nodes. Throws NO_TARGET when there is none. */
  ofNewTable(): (tables: readonly Table[]) => string[] {
    const { modes, regionsPerTable } = this.node.config.storage;
    const live = this.node.directory.all().filter(takesRows).map(({ id }) => id);
    // This node is live, whatever the registry shows of it yet.
    const nodes = modes.includes('write') ? [...new Set([this.node.id, ...live])] : live;
    if (nodes.length === 0) throw new BinnacleError('NO_TARGET', 'No live storage node takes rows in.', { retryAfterS: 1 });
    // Without the remote tier nobody could search or export what lies on several nodes, nor take it over.
    const spread = this.remote.isOn() ? nodes : nodes.slice(0, 1);
    return (tables) => placedRegions(tables, spread, regionsPerTable);
  }
}

/** A storage node that runs and is not for computing alone. */
export function takesRows(node: Pick<NodeRecord, 'roles' | 'labels' | 'state'>): boolean {
  return node.state === 'running' && node.roles.includes('storage') && isInMode(node, 'write');
}
