import { restoreBackup } from '@binnacle/cluster-state/backup';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';

/**
 * A node that starts on a copy of a snapshot fills what its cluster state lacks: the catalog of tables, settings, API keys. It has to come before
 * the parts that read them.
 */
@Injectable()
export class RestoredState implements NodePart {
  readonly name = 'restored cluster state';

  constructor(private readonly node: NodeContext) {
    node.addPart(this);
  }

  async join(): Promise<void> {
    const written = await restoreBackup(this.node.state, this.node.config.dataDir);
    if (written.length > 0) this.node.log.info({ documents: written }, 'the cluster state had not got these: they are those of the snapshot');
  }
}
