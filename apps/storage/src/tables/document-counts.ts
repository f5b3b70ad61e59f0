import { BinnacleError } from '@binnacle/contracts/errors';
import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { OwnRegions } from '../regions/own-regions.js';
import { writeNodesOf } from '../regions/region.js';
import { RowStore } from '../row-store.js';
import type { Table } from './schema.js';

const countsTimeoutMs = 5_000;

/** How many documents tables have: each write node knows its own. */
@Injectable()
export class DocumentCounts {
  constructor(
    private readonly node: NodeContext,
    private readonly ownRegions: OwnRegions,
    private readonly rows: RowStore,
    private readonly agents: AgentClient,
  ) {}

  /** Rejects with NO_TARGET when a node that has rows of the table is away. */
  async of(table: Table): Promise<number> {
    if (this.ownRegions.ownsAll(table)) return this.rows.count(table.id);
    return (await this.ofAll([table])).get(table.id) ?? 0;
  }

  /** By table id. */
  async ofAll(tables: readonly Table[]): Promise<ReadonlyMap<number, number>> {
    const counts = new Map<number, number>();
    const asked = new Map<string, Table[]>();
    for (const table of tables) {
      for (const nodeId of writeNodesOf(table)) {
        if (nodeId === this.node.id) add(counts, table.id, this.rows.count(table.id));
        else asked.set(nodeId, [...(asked.get(nodeId) ?? []), table]);
      }
    }
    await Promise.all([...asked].map(([nodeId, held]) => this.#addCountsOf(nodeId, held, counts)));
    return counts;
  }

  /** Of the tables that have rows here. */
  own(): [tableId: number, count: number][] {
    return [...new Set(this.ownRegions.assigned().map(({ table }) => table.id))].map((id) => [id, this.rows.count(id)]);
  }

  async #addCountsOf(nodeId: string, tables: readonly Table[], counts: Map<number, number>): Promise<void> {
    const record = this.node.directory.byId(nodeId);
    if (record === undefined) {
      const [only, ...others] = tables;
      const held = others.length === 0 ? `collection \`${only?.name}\`` : 'some of the collections';
      throw new BinnacleError('NO_TARGET', `Node ${nodeId}, which holds ${held}, is away.`, { retryAfterS: 1 });
    }
    const { status, body } = await this.agents.request(record, { method: 'GET', path: '/agent/v1/tables/counts', timeoutMs: countsTimeoutMs });
    if (status !== 200) throw new BinnacleError('UPSTREAM_UNREACHABLE', `Node ${nodeId} does not tell how many documents it has.`);
    for (const { id } of tables) add(counts, id, (body as Record<string, number>)[id] ?? 0);
  }
}

function add(counts: Map<number, number>, id: number, count: number): void {
  counts.set(id, (counts.get(id) ?? 0) + count);
}
