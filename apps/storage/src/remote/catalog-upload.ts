import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { Catalog } from '../tables/catalog.js';
import { CatalogBehindError, storeCatalog } from './catalog-object.js';
import { RemoteStore } from './remote-store.js';
import { RestoredCatalog } from './restored-catalog.js';

/** Changes that come together go out together. */
const delayMs = 200;
/** Also how soon a new leader looks after it. */
const againMs = 10_000;

/** The leader keeps `catalog.json` of the remote store as the catalog in cluster state is. */
@Injectable()
export class CatalogUpload implements NodePart {
  readonly name = 'catalog in the remote store';
  readonly #stopping = new AbortController();
  #cancelTimer = (): void => {};
  #unlisten = (): void => {};
  #running: Promise<void> | undefined;
  #isDirty = true;
  #lastFailure = '';

  constructor(
    private readonly node: NodeContext,
    private readonly remote: RemoteStore,
    private readonly catalog: Catalog,
    private readonly restored: RestoredCatalog,
  ) {
    node.addPart(this);
  }

  async join(): Promise<void> {
    if (!this.remote.isOn()) return;
    this.#unlisten = this.catalog.onChange(() => {
      this.#isDirty = true;
      this.#schedule(delayMs);
    });
    this.#schedule(delayMs);
  }

  /** What has changed just now is for the next leader to bring there, or for this node after its next start. */
  async drain(): Promise<void> {
    this.#stopping.abort(new Error('the node stops'));
    this.#unlisten();
    this.#cancelTimer();
    await this.#running;
  }

  #schedule(afterMs: number): void {
    this.#cancelTimer();
    if (this.#stopping.signal.aborted) return;
    this.#cancelTimer = this.node.clock.after(afterMs, () => {
      this.#running ??= this.#run().finally(() => {
        this.#running = undefined;
        this.#schedule(this.#isDirty && this.#lastFailure === '' && this.#isLeader() ? delayMs : againMs);
      });
    });
  }

  #isLeader(): boolean {
    return this.node.candidacies.get('leader')?.isOwner() === true;
  }

  /** Never rejects. Who does not lead has something to do once it does. */
  async #run(): Promise<void> {
    if (!this.#isLeader()) return void (this.#isDirty = true);
    if (!this.#isDirty) return;
    this.#isDirty = false;
    try {
      // Cluster state that lost everything while the nodes run gets it back.
      await this.restored.restore();
      await storeCatalog(this.node.state, this.remote.store(), { signal: this.#stopping.signal });
      this.#lastFailure = '';
    } catch (error) {
      this.#isDirty = true;
      const { message } = error as Error;
      if (message !== this.#lastFailure && !this.#stopping.signal.aborted) {
        const what = 'the catalog of tables could not be brought into the remote store; it is tried again';
        if (error instanceof CatalogBehindError) this.node.log.error(`${what}: ${message}`);
        else this.node.log.warn({ err: error }, what);
      }
      this.#lastFailure = message;
    }
  }
}
