/* Redis, storage and the gateway as processes of their own, as they are built and as the product starts them: what trials of ingest talk to. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { freePort } from '@binnacle/testing/free-port';
import { startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';

const { nodeFlags, storageFlags, withJemalloc } = await import(new URL('../../cli/launch/preload.mjs', import.meta.url).href);

export const secret = 'the-secret-of-this-trial-of-ingest';
const secretHeader = { 'x-binnacle-cluster-secret': secret };

/** A metric in Prometheus' text format, over all its labels. */
export function metricIn(text, name) {
  return [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))].reduce((sum, [, value]) => sum + Number(value), 0);
}

/** A process of Binnacle. */
class TrialNode {
  constructor(child, port) {
    Object.assign(this, { child, port });
  }

  isRunning() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  fetch(path, init = {}) {
    return fetch(`http://127.0.0.1:${this.port}${path}`, { ...init, headers: { ...init.headers, ...secretHeader } });
  }

  async metric(name) {
    return metricIn(await (await this.fetch('/metrics')).text(), name);
  }

  /** Resident now, and the most it ever was. */
  memoryMegabytes() {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    const of = (name) => Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024);
    return { resident: of('VmRSS'), peak: of('VmHWM') };
  }

  async end(signal = 'SIGTERM') {
    this.child.kill(signal);
    await exited(this.child);
  }
}

export async function startTrialCluster() {
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-trial-'));
  const redis = await startRedis();
  const nodes = new Map();

  /** One role in a process of its own; `env` by the names of the configuration. */
  async function start(app, env = {}) {
    const port = await freePort();
    const main = fileURLToPath(new URL(`../../${app}/dist/main.js`, import.meta.url));
    const environment = {
      ...withJemalloc(process.env).env,
      NODE_OPTIONS: '',
      BINNACLE_REDIS_URL: redis.url,
      BINNACLE_REMOTE_URL: `file://${folder}/remote`,
      BINNACLE_DATA_DIR: join(folder, app),
      BINNACLE_NODE_ID: `${app}-0`,
      BINNACLE_NODE_PORT: String(port),
      BINNACLE_NODE_CLUSTER_SECRET: secret,
      BINNACLE_LOG_LEVEL: 'error',
      ...env,
    };
    const child = spawn(process.execPath, [...nodeFlags, ...(app === 'storage' ? storageFlags : []), main], { env: environment, stdio: ['ignore', 'inherit', 'inherit'] });
    child.once('exit', guardProcess(child.pid, ''));
    const node = new TrialNode(child, port);
    nodes.set(app, node);
    await waitUntil(async () => (await node.fetch('/readyz').catch(() => undefined))?.status === 200 || !node.isRunning(), { timeoutMs: 60_000, what: `${app} to be ready` });
    if (!node.isRunning()) throw new Error(`${app} ended with ${child.exitCode}`);
    return node;
  }

  await start('storage');
  const gatewayPorts = {};
  for (const name of ['PORT', 'TIFLASH_PORT', 'TIPROXY_PORT', 'GOSTATSD_PORT', 'TYPESENSE_PORT']) gatewayPorts[`BINNACLE_GATEWAY_${name}`] = String(await freePort());
  await start('gateway', gatewayPorts);
  const gateway = `http://127.0.0.1:${gatewayPorts.BINNACLE_GATEWAY_PORT}`;

  return {
    folder,
    redis,
    nodes,
    start,
    gateway,
    /** Through the gateway, as its users ask. */
    async sql(text) {
      const answer = await fetch(`${gateway}/api/v1/sql`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ sql: text }) });
      const body = await answer.text();
      if (answer.status !== 200) throw new Error(`${answer.status} ${body.slice(0, 500)}`);
      return JSON.parse(body);
    },
    async stop() {
      for (const node of [...nodes.values()].reverse()) if (node.isRunning()) await node.end();
      await redis.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
