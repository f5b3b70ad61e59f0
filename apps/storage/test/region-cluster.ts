import { pathToFileURL } from 'node:url';
import { systemClock } from '@binnacle/cluster-state/clock';
import type { ClusterState } from '@binnacle/cluster-state/cluster-state';
import { openClusterState } from '@binnacle/cluster-state/open-cluster-state';
import { NodeConfig } from '@binnacle/node-kit/config';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { FolderStore } from '@binnacle/object-store/folder-store';
import { type Region, regionOf, tableIdOfRegion } from '../src/regions/region.js';
import { catalogKey, parseCatalog } from '../src/tables/catalog-document.js';
import { Folders } from './snapshot-node.js';
import { StorageProcess } from './storage-process.js';
import { manifestsOf } from './testable-uploads.js';

/** Three times what may keep a node on a busy machine from renewing what it has: a node that others take for dead is another test. */
export const leaseMs = 3_000;

/** Storage nodes in processes of their own, with one Redis, and one folder as the remote store. */
export class RegionCluster {
  readonly #folders = new Folders();
  readonly #dataDirs = new Map<string, string>();
  readonly #nodes = new Map<string, StorageProcess>();
  readonly bucket = this.#folders.make();

  private constructor(
    readonly redis: RedisServer,
    readonly state: ClusterState,
  ) {}

  static async start(...ids: string[]): Promise<RegionCluster> {
    const redis = await startRedis();
    const config = new NodeConfig();
    const state = await openClusterState({ redis: { ...config.redis, url: redis.url }, dataDir: '', clock: systemClock });
    const cluster = new RegionCluster(redis, state);
    await Promise.all(ids.map((id) => cluster.startNode(id)));
    // Each of them has to know the others.
    for (const id of ids) await waitUntil(async () => (await cluster.node(id).ask('POST', '/operations/reset_peers')).text.includes('true'));
    return cluster;
  }

  /** On the folder it had, if it had one. */
  async startNode(id: string): Promise<void> {
    const dataDir = this.#dataDirs.get(id) ?? this.#folders.make();
    this.#dataDirs.set(id, dataDir);
    const node = await StorageProcess.start(dataDir, {
      BINNACLE_NODE_ID: id,
      BINNACLE_REDIS_URL: this.redis.url,
      BINNACLE_REMOTE_URL: pathToFileURL(this.bucket).href,
      BINNACLE_NODE_HEARTBEAT_TTL_MS: '2000',
      BINNACLE_NODE_DRAIN_DELAY_MS: '0',
      BINNACLE_STORAGE_LEADER_LEASE_TTL_MS: '2000',
      BINNACLE_STORAGE_REGION_LEASE_MS: String(leaseMs),
    });
    this.#nodes.set(id, node);
  }

  /** The node's next start finds nothing of its own. */
  forgetFolder(id: string): void {
    this.#dataDirs.delete(id);
  }

  node(id: string): StorageProcess {
    return this.#nodes.get(id) as StorageProcess;
  }

  running(): string[] {
    return [...this.#nodes.keys()];
  }

  async end(id: string, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const node = this.node(id);
    this.#nodes.delete(id);
    await node.end(signal);
  }

  async regions(table: string): Promise<readonly Region[]> {
    const { document } = await this.state.readDocument(catalogKey);
    return parseCatalog(document?.value ?? '').tables.find(({ name }) => name === table)?.regions ?? [];
  }

  /** In the segments of all its regions, delete marks and older versions included. */
  async uploadedRows(table: string): Promise<number> {
    const store = await FolderStore.open(this.bucket, { timeoutMs: 10_000 });
    try {
      const [region] = await this.regions(table);
      const manifests = await manifestsOf(store, tableIdOfRegion(region?.id ?? 0));
      return manifests.flatMap(({ segments }) => segments).reduce((sum, { rows }) => sum + rows, 0);
    } finally {
      await store.close();
    }
  }

  async regionOf(table: string, id: string): Promise<Region> {
    return regionOf(await this.regions(table), Buffer.from(id));
  }

  async stop(): Promise<void> {
    for (const node of this.#nodes.values()) node.signal('SIGCONT');
    await Promise.all([...this.#nodes.values()].map((node) => node.end('SIGKILL')));
    await this.state.close();
    await this.redis.stop();
    this.#folders.remove();
  }
}
