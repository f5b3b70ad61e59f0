import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { RowStore } from '../row-store.js';
import type { Table } from './schema.js';
import { WriteNodes } from './write-nodes.js';

export interface TableCounts {
  /** By table id. Of a table whose node does not answer what it told last; absent when it never told anything. */
  readonly documents: ReadonlyMap<number, number>;
  /** Ids of the nodes that did not answer. */
  readonly silent: readonly string[];
}

/** A node that takes longer is away, for this purpose. */
const timeoutMs = 5_000;

/** How many documents tables have, wherever their rows are. */
@Injectable()
export class DocumentCounts {
  /** By node: what it told last, by table id. */
  readonly #told = new Map<string, Readonly<Record<string, number>>>();

  constructor(
    private readonly node: NodeContext,
    private readonly rows: RowStore,
    private readonly writeNodes: WriteNodes,
    private readonly agents: AgentClient,
  ) {}

  async of(tables: readonly Table[]): Promise<TableCounts> {
    const others = new Set(tables.filter((table) => !this.writeNodes.isOwn(table)).map(({ writeNode }) => writeNode));
    const asked = await Promise.all([...others].map(async (nodeId) => ({ nodeId, answered: await this.#ask(nodeId) })));
    const silent = asked.filter(({ answered }) => !answered).map(({ nodeId }) => nodeId);
    const documents = new Map<number, number>();
    for (const table of tables) {
      const count = this.writeNodes.isOwn(table) ? this.rows.count(table.id) : this.#lastTold(table, silent);
      if (count !== undefined) documents.set(table.id, count);
    }
    return { documents, silent };
  }

  #lastTold({ id, writeNode }: Table, silent: readonly string[]): number | undefined {
    const told = this.#told.get(writeNode)?.[id];
    // A node that answers and does not name the table has not heard of it yet: there is nothing in it.
    return told ?? (silent.includes(writeNode) ? undefined : 0);
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
