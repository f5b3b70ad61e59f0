import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { OwnRegions } from '../regions/own-regions.js';
import { writeNodesOf } from '../regions/region.js';
import { RowStore } from '../row-store.js';
import type { Table } from './schema.js';

export interface TableCounts {
  /** By table id. Of nodes that do not answer it is what they told last; a table of which one of them never told anything is absent. */
  readonly documents: ReadonlyMap<number, number>;
  /** Ids of the nodes that did not answer. */
  readonly silent: readonly string[];
}

/** A node that takes longer is away, for this purpose. */
const timeoutMs = 5_000;

/** How many documents tables have: each write node knows its own. */
@Injectable()
export class DocumentCounts {
  /** By node: what it told last, by table id. */
  readonly #told = new Map<string, Readonly<Record<string, number>>>();

  constructor(
    private readonly node: NodeContext,
    private readonly ownRegions: OwnRegions,
    private readonly rows: RowStore,
    private readonly agents: AgentClient,
  ) {}

  async of(tables: readonly Table[]): Promise<TableCounts> {
    const others = new Set(tables.flatMap((table) => writeNodesOf(table)));
    others.delete(this.node.id);
    const asked = await Promise.all([...others].map(async (nodeId) => ({ nodeId, answered: await this.#ask(nodeId) })));
    const silent = asked.filter(({ answered }) => !answered).map(({ nodeId }) => nodeId);
    const documents = new Map<number, number>();
    for (const table of tables) {
      const counts = writeNodesOf(table).map((nodeId) => (nodeId === this.node.id ? this.rows.count(table.id) : this.#lastTold(table.id, nodeId, silent)));
      if (counts.every((count) => count !== undefined)) documents.set(table.id, counts.reduce((sum, count) => sum + count, 0));
    }
    return { documents, silent };
  }

  /** Of the tables that have rows here. */
  own(): [tableId: number, count: number][] {
    return [...new Set(this.ownRegions.assigned().map(({ table }) => table.id))].map((id) => [id, this.rows.count(id)]);
  }

  #lastTold(tableId: number, nodeId: string, silent: readonly string[]): number | undefined {
    // A node that answers and does not name the table has not heard of it yet: there is nothing in it.
    return this.#told.get(nodeId)?.[tableId] ?? (silent.includes(nodeId) ? undefined : 0);
  }

  async #ask(nodeId: string): Promise<boolean> {
    const record = this.node.directory.byId(nodeId);
    if (record === undefined) return false;
    try {
      const { status, body } = await this.agents.request(record, { method: 'GET', path: '/agent/v1/tables/counts', timeoutMs });
      if (status !== 200) return false;
      this.#told.set(nodeId, body as Record<string, number>);
      return true;
    } catch (error) {
      this.node.log.info({ err: error, nodeId }, 'a node does not tell how many documents it has');
      return false;
    }
  }
}
