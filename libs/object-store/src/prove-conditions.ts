import { randomUUID } from 'node:crypto';
import { type ObjectStore, ObjectStoreUnusable, type OperationOptions, PreconditionFailed, type PutOptions } from './object-store.js';

const etagOfNothing = '"00000000000000000000000000000000"';

/** A condition that does hold is refused, too. */
export class ConditionNeverHolds extends ObjectStoreUnusable {}

/**
 * Writes under conditions that do not hold, and one that does. Rejects with `ObjectStoreUnusable` when the store takes them all the same, as some imitations of
 * S3 do: two nodes would then replace each other's manifests without a word.
 */
export async function proveConditions(store: Pick<ObjectStore, 'url' | 'put' | 'delete'>, options: OperationOptions = {}): Promise<void> {
  const key = `probes/${randomUUID()}`;
  const body = Buffer.from('written to see whether conditions are honoured; may be deleted\n');
  const { etag } = await store.put(key, body, { ...options, condition: 'absent' });
  try {
    if (await isRefused(store, key, body, { ...options, condition: { etag } })) {
      throw new ConditionNeverHolds(`${store.url} refuses If-Match with the etag of the object that is there`);
    }
    for (const condition of ['absent', { etag: etagOfNothing }] as const) {
      if (await isRefused(store, key, body, { ...options, condition })) continue;
      throw new ObjectStoreUnusable(
        `${store.url} ignores ${condition === 'absent' ? 'If-None-Match' : 'If-Match'} and replaces objects that it was told to keep: ` +
          'with this store nodes would lose data. Use one that honours conditional writes (docs/remote-tier.md names some)',
      );
    }
  } finally {
    await store.delete(key, options);
  }
}

async function isRefused(store: Pick<ObjectStore, 'put'>, key: string, body: Buffer, options: PutOptions): Promise<boolean> {
  try {
    await store.put(key, body, options);
    return false;
  } catch (error) {
    if (error instanceof PreconditionFailed) return true;
    throw error;
  }
}
