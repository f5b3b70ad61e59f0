import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Client } from 'typesense';
import { portsOf, ProductProcess, temporaryFolder } from './product.js';

const ports = portsOf('cluster');
const folder = temporaryFolder('cluster');
const gateway = `http://127.0.0.1:${ports.gateway}`;

interface ClusterView {
  nodes: { id: string; roles: string[]; state: string }[];
  leases: { name: string; term: number; owner: { nodeId: string } | null }[];
}

/** The seven roles as separate processes, two nodes each of storage and cluster, on a real Redis. */
class Cluster {
  readonly nodes = new Map<string, ProductProcess>();

  constructor(readonly redis: RedisServer) {}

  start(app: string, id: string, nodePort: number): void {
    const env = {
      BINNACLE_PORT_OFFSET: String(ports.offset),
      BINNACLE_DATA_DIR: `${folder.path}/${id}`,
      BINNACLE_REDIS_URL: this.redis.url,
      BINNACLE_NODE_ID: id,
      BINNACLE_NODE_PORT: String(nodePort),
      BINNACLE_NODE_CLUSTER_SECRET: 'the-same-on-every-node-of-this-test',
      BINNACLE_LOG_FORMAT: 'json',
    };
    this.nodes.set(id, new ProductProcess([process.execPath, `apps/${app}/dist/main.js`], env));
  }

  node(id: string): ProductProcess {
    const node = this.nodes.get(id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  async view(): Promise<ClusterView> {
    return (await fetch(`${gateway}/api/v1/cluster`)).json() as Promise<ClusterView>;
  }

  async leader(): Promise<string | undefined> {
    return (await this.view()).leases.find((lease) => lease.name === 'leader')?.owner?.nodeId;
  }

  async untilRunning(count: number): Promise<void> {
    const running = async () => {
      // Until a gateway and a cluster node are up there is no answer, or one that says so.
      const view: Partial<ClusterView> = await this.view().catch(() => ({}));
      return view.nodes?.filter((node) => node.state === 'running').length;
    };
    await waitUntil(async () => (await running()) === count, { timeoutMs: 60_000, what: `${count} running nodes` });
  }
}

const apps = ['gateway', 'profiling', 'storage', 'cluster', 'health', 'ingest', 'proxy'];

describe('seven separate processes with Redis', () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = new Cluster(await startRedis({ appendOnly: true }));
    apps.forEach((app, index) => cluster.start(app, `${app}-0`, 7401 + index));
    cluster.start('storage', 'storage-1', 7411);
    cluster.start('cluster', 'cluster-1', 7415);
    await cluster.untilRunning(9);
  });

  afterAll(async () => {
    await Promise.all([...cluster.nodes.values()].map((node) => node.stop('SIGTERM')));
    await cluster.redis.stop();
    folder.remove();
  });

  test('every node is in the registry with its role', async () => {
    const { nodes } = await cluster.view();
    for (const app of apps) expect(nodes).toContainEqual(expect.objectContaining({ id: `${app}-0`, roles: [app], state: 'running' }));
  });

  test('a node is named as the target by query and by header, and * asks them all', async () => {
    const byQuery = await fetch(`${gateway}/tiflash/store-status?node=storage-1`);
    expect(await byQuery.text()).toBe('Running');
    const byHeader = await fetch(`${gateway}/metrics.json`, { headers: { 'x-binnacle-node': 'ingest-0' } });
    expect(byHeader.status).toBe(200);
    const all = (await (await fetch(`${gateway}/tiflash/store-status?node=*`)).json()) as Record<string, unknown>;
    expect(all).toEqual(Object.fromEntries([...cluster.nodes.keys()].map((id) => [id, { status: 200, body: 'Running' }])));
    const unknown = await fetch(`${gateway}/tiflash/store-status?node=nobody`);
    expect(unknown.status).toBe(404);
    expect(await unknown.text()).toContain('storage-0');
  });

  test('a vote through the Typesense client moves the leader, and only once it has moved says so', async () => {
    const before = await cluster.leader();
    const client = new Client({ nodes: [{ host: '127.0.0.1', port: ports.typesense, protocol: 'http' }], apiKey: 'none needed on loopback' });

    expect(await client.operations.perform('vote')).toEqual({ success: true });

    const after = await cluster.leader();
    expect(after).toMatch(/^storage-[01]$/);
    expect(after).not.toBe(before);
    const again = await (await fetch(`${gateway}/operations/vote?node=${after}`, { method: 'POST' })).json();
    expect(again).toMatchObject({ success: false, error: expect.any(String) });
  });

  test('kill -9 of the leader: the other storage node leads once its lease is over, in the next term', async () => {
    const dead = (await cluster.leader()) ?? '';
    const term = (await cluster.view()).leases.find((lease) => lease.name === 'leader')?.term ?? 0;
    const killedAt = performance.now();
    cluster.node(dead).signal('SIGKILL');

    await waitUntil(async () => ![dead, undefined].includes(await cluster.leader()), { what: 'a new leader' });

    // Lease ttl 5 s; a second to take over, or some on a machine that does much else. Less than another lease.
    expect(performance.now() - killedAt).toBeLessThan(9_900);
    expect((await cluster.view()).leases.find((lease) => lease.name === 'leader')?.term).toBe(term + 1);
    const history = (await (await fetch(`${gateway}/api/v1/leases/leader/history`)).json()) as { tenures: { endReason?: string }[] };
    expect(history.tenures.some((tenure) => tenure.endReason === 'expired')).toBe(true);
    cluster.start('storage', dead, dead === 'storage-0' ? 7403 : 7411);
    await cluster.untilRunning(9);
  });

  test('a rolling restart of two nodes under 500 requests a second fails none of them', async () => {
    const load = new SteadyLoad(`${gateway}/api/v1/leases`, 500);
    load.start();
    for (const [id, port] of [['cluster-0', 7404], ['cluster-1', 7415]] as const) {
      expect(await cluster.node(id).stop('SIGTERM')).toBe(0);
      cluster.start('cluster', id, port);
      await cluster.untilRunning(9);
    }
    const { sent, failures } = await load.stop();
    expect(failures).toEqual([]);
    expect(sent).toBeGreaterThan(500);
  });

  test('Redis killed: deepcheck fails, liveness and healthcheck do not, and all heals by itself', async () => {
    const status = async (path: string) => (await fetch(`${gateway}${path}`)).status;
    await cluster.redis.kill9();
    await waitUntil(async () => (await status('/deepcheck')) === 500, { what: 'deepcheck to fail' });
    expect(await status('/healthcheck')).toBe(200);
    expect(await status('/livez')).toBe(200);
    await cluster.redis.restart();
    await waitUntil(async () => (await status('/deepcheck')) === 200, { what: 'deepcheck to pass again' });
    await waitUntil(async () => (await cluster.leader()) !== undefined, { what: 'a leader again' });
  });
});

/** Beyond it the rate is not kept: a queue would say something about this machine. */
const runningMax = 200;

/** Sends requests at a steady rate, whatever the answers, and keeps what went wrong. */
class SteadyLoad {
  readonly #failures: string[] = [];
  readonly #running = new Set<Promise<void>>();
  #sent = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    readonly url: string,
    readonly perSecond: number,
  ) {}

  start(): void {
    const tickMs = 20;
    this.#timer = setInterval(() => {
      for (let count = 0; count < (this.perSecond * tickMs) / 1_000 && this.#running.size < runningMax; count++) this.#send();
    }, tickMs);
  }

  #send(): void {
    this.#sent++;
    const request = fetch(this.url)
      .then(async (response) => {
        const body = await response.text();
        if (response.status !== 200) this.#failures.push(`${response.status} ${body}`);
      })
      .catch((error: unknown) => void this.#failures.push(String(error)))
      .finally(() => this.#running.delete(request));
    this.#running.add(request);
  }

  async stop(): Promise<{ sent: number; failures: string[] }> {
    clearInterval(this.#timer);
    await Promise.all(this.#running);
    return { sent: this.#sent, failures: this.#failures };
  }
}
