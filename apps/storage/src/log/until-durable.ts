import type { Clock } from '@binnacle/cluster-state/clock';

/** What tells how far the commit log is on disk. */
export interface DurableLog {
  durableVersion(): number;
  onDurable(listener: (version: number) => void): () => void;
}

/** Resolves to the newest version on disk once everything up to `version` is. Rejects when it is not within that time: the disk is broken, or very slow. */
export async function untilDurable(log: DurableLog, clock: Clock, version: number, withinMs: number): Promise<number> {
  if (log.durableVersion() >= version) return log.durableVersion();
  return new Promise((resolve, reject) => {
    const end = (): void => {
      cancel();
      unlisten();
    };
    const cancel = clock.after(withinMs, () => {
      end();
      reject(new Error(`the commit log of this node did not get to the disk within ${withinMs} ms`));
    });
    const unlisten = log.onDurable((durable) => {
      if (durable < version) return;
      end();
      resolve(durable);
    });
  });
}
