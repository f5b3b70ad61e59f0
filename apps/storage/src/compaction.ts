import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { RowStore } from './row-store.js';
import { Tasks } from './tasks.js';

export interface Compacted {
  /** Of the rows on disk. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

/** The engine tells nothing on the way but the size of its tables. */
const lookIntervalMs = 1_000;

/** Rewrites the rows on disk without what was overwritten or deleted, one time at a time. */
@Injectable()
export class Compaction implements NodePart {
  readonly name = 'compaction';
  #running: AbortController | undefined;

  constructor(
    private readonly node: NodeContext,
    private readonly rows: RowStore,
    private readonly tasks: Tasks,
  ) {
    node.addPart(this);
  }

  /** Nobody waits for it any more; what it has rewritten so far stays. */
  async drain(): Promise<void> {
    this.#running?.abort(new BinnacleError('NOT_READY', 'the node stops'));
  }

  /** Resolves when it is done. Rejects with CONFLICT while another one runs, and with NOT_READY when the node stops. */
  async run(): Promise<Compacted> {
    if (this.#running !== undefined) throw new BinnacleError('CONFLICT', 'Another compaction is in progress.', { retryAfterS: 10 });
    const abort = new AbortController();
    this.#running = abort;
    let cancelLook = (): void => {};
    try {
      return await this.tasks.run('compaction', 'rows', async (task) => {
        const bytesBefore = await this.rows.sizeBytes();
        const look = async (): Promise<void> => {
          task.progress({ done: await this.rows.sizeBytes(), unit: 'bytes' });
          if (this.#running === abort) cancelLook = this.node.clock.after(lookIntervalMs, again);
        };
        const again = (): void => void look().catch(() => undefined);
        again();
        await this.rows.compact(abort.signal);
        const compacted = { bytesBefore, bytesAfter: await this.rows.sizeBytes() };
        task.result({ ...compacted });
        this.node.log.info(compacted, 'rows compacted');
        return compacted;
      });
    } finally {
      this.#running = undefined;
      cancelLook();
    }
  }
}
