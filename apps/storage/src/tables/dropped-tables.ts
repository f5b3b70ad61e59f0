import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { RowStore } from '../row-store.js';
import { Catalog } from './catalog.js';

/** After a failure (the disk is full, cluster state is away) it is tried again. */
const retryMs = 5_000;

/**
 * Removes the rows of dropped tables on the nodes that hold them. They stay on the catalog's list until that is done, so that neither a
 * crash nor a node that is away at the time leaves rows behind; only what is on the list is removed, so that a catalog that was lost
 * removes nothing.
 */
@Injectable()
export class DroppedTables implements NodePart {
  readonly name = 'dropped tables';
  #removing: Promise<void> | undefined;
  #isStopped = false;
  #stopWatching: () => void = () => {};
  #cancelRetry: () => void = () => {};

  constructor(
    private readonly node: NodeContext,
    private readonly catalog: Catalog,
    private readonly rows: RowStore,
  ) {
    node.addPart(this);
  }

  async start(): Promise<void> {
    this.#stopWatching = this.catalog.onChange(() => this.#remove());
    this.#remove();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#stopWatching();
    this.#cancelRetry();
    await this.#removing;
  }

  #remove(): void {
    if (this.#removing !== undefined || this.#isStopped || this.#own().length === 0) return;
    this.#cancelRetry();
    this.#removing = this.#removeOwn()
      .catch((error: unknown) => {
        this.node.log.warn({ err: error }, 'the rows of a dropped table could not be removed; it is tried again');
        this.#cancelRetry = this.node.clock.after(retryMs, () => this.#remove());
        return true;
      })
      .then((hasFailed) => {
        this.#removing = undefined;
        if (hasFailed !== true) this.#remove();
      });
  }

  async #removeOwn(): Promise<void> {
    const ids = this.#own();
    for (const id of ids) await this.rows.dropTable(id);
    await this.catalog.forgetDropped(new Set(ids));
    this.node.log.info({ tables: ids }, 'rows of dropped tables removed');
  }

  #own(): number[] {
    return this.catalog.dropped().flatMap(({ id, nodes }) => (nodes.includes(this.node.id) ? [id] : []));
  }
}
