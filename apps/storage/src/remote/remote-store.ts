import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { NodeConfig } from '@binnacle/node-kit/config';
import { ConfigError } from '@binnacle/node-kit/config-error';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { type ObjectStore, ObjectStoreUnavailable, ObjectStoreUnusable } from '@binnacle/object-store/object-store';
import { openObjectStore } from '@binnacle/object-store/open-object-store';
import { Injectable } from '@nestjs/common';

/** The remote store of this node: open between `start` and `stop`. */
@Injectable()
export class RemoteStore implements NodePart {
  readonly name = 'remote store';
  readonly #url: string | undefined;
  #store: ObjectStore | undefined;

  constructor(private readonly node: NodeContext) {
    this.#url = remoteUrl(node.config);
    node.addPart(this);
  }

  /** Whether this node has a remote tier at all; known from the configuration. */
  isOn(): boolean {
    return this.#url !== undefined;
  }

  /** Throws `CAPABILITY_MISSING` where the tier is off, and `NOT_READY` before the start and after the stop. */
  store(): ObjectStore {
    if (this.#store !== undefined) return this.#store;
    if (this.isOn()) throw new BinnacleError('NOT_READY', 'the remote store is not open');
    throw new BinnacleError('CAPABILITY_MISSING', 'this cluster has no remote store: set remote.url (BINNACLE_REMOTE_URL) on every storage node');
  }

  /** Rejects with `ConfigError` on a store that cannot be used as it is. One that does not answer may come: the node starts without it. */
  async start(): Promise<void> {
    if (this.#url === undefined) {
      this.node.log.info('the remote tier is off: with Redis it needs remote.url, a bucket or a folder that every storage node reaches');
      return;
    }
    try {
      this.#store = await openObjectStore({ ...this.node.config.remote, url: this.#url });
      await this.#store.check();
      this.node.log.info({ url: this.#store.url }, 'remote store open');
    } catch (error) {
      if (error instanceof ObjectStoreUnusable) throw new ConfigError([`remote.url: ${error.message}`]);
      if (this.#store === undefined || !(error instanceof ObjectStoreUnavailable)) throw error;
      this.node.log.warn({ err: error }, 'the remote store does not answer; the node starts without it and tries on');
    }
  }

  async stop(): Promise<void> {
    const store = this.#store;
    this.#store = undefined;
    await store?.close();
  }
}

/** Undefined: the tier is off. A folder of its own serves one node only; with Redis there may be others. */
export function remoteUrl({ dataDir, redis, remote }: NodeConfig): string | undefined {
  if (remote.url !== '') return remote.url;
  return redis.url === '' ? pathToFileURL(resolve(join(dataDir, 'remote'))).href : undefined;
}
