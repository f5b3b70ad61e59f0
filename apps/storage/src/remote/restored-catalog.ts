import { hasBackup } from '@binnacle/cluster-state/backup';
import { ClusterStateUnavailable } from '@binnacle/cluster-state/cluster-state';
import { BinnacleError } from '@binnacle/contracts/errors';
import { ConfigError } from '@binnacle/node-kit/config-error';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { ObjectStoreUnavailable } from '@binnacle/object-store/object-store';
import { Injectable } from '@nestjs/common';
import { restoreCatalog } from './catalog-object.js';
import { RemoteStore } from './remote-store.js';

/**
 * A cluster whose state has no catalog starts from the one in the bucket: a new node on an empty folder, or Redis emptied. It has to come before the parts
 * that read the catalog. A snapshot that was restored into the data folder comes first: it has a catalog of its own.
 */
@Injectable()
export class RestoredCatalog implements NodePart {
  readonly name = 'restored catalog';

  constructor(
    private readonly node: NodeContext,
    private readonly remote: RemoteStore,
  ) {
    node.addPart(this);
  }

  async start(): Promise<void> {
    try {
      await this.restore();
    } catch (error) {
      if (!(error instanceof ObjectStoreUnavailable || error instanceof ClusterStateUnavailable)) {
        throw new ConfigError([`catalog.json of the remote store cannot be read, and there is no other catalog of tables: ${(error as Error).message}`]);
      }
      this.node.log.warn({ err: error }, 'it is not known yet whether the remote store has a catalog of tables; it is tried again');
    }
  }

  /** Resolves once the cluster state has a catalog, or there is nothing to take one from. Rejects with what keeps it from being known. */
  async restore(): Promise<void> {
    if (!this.remote.isOn() || hasBackup(this.node.config.dataDir)) return;
    const catalog = await restoreCatalog(this.node.state, this.remote.store());
    if (catalog !== undefined && catalog.tables.length > 0) {
      this.node.log.info({ tables: catalog.tables.map(({ id, name }) => ({ id, name })) }, 'the cluster state had no catalog of tables: it has that of the remote store now');
    }
  }

  /** Before the first table of a catalog is made. Rejects with NOT_READY: its number may be one that has rows in the remote store. */
  async known(): Promise<void> {
    await this.restore().catch((error: unknown) => {
      if (!(error instanceof ObjectStoreUnavailable)) throw error;
      throw new BinnacleError('NOT_READY', 'the remote store does not answer, and may have tables', { cause: error, retryAfterS: 1 });
    });
  }
}
