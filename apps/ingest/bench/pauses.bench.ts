/*
 * How long an ingest node holds everything else up while it has many series: in its flush, in an exposition, and while it takes messages. From the root,
 * under Node.js 24, after a build:  node apps/ingest/bench/pauses.bench.ts [series]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { NodeConfig } from '@binnacle/node-kit/config';
import { startNode } from '@binnacle/node-kit/run-node';
import { Ingest } from '../dist/ingest.js';
import { IngestModule } from '../dist/ingest.module.js';
import { RawMessageWriter } from '../dist/forwarding/raw-message-writer.js';
import { newSeries } from '../dist/series/series.js';

const seriesCount = Number(process.argv[2] ?? 200_000);
const restMs = 3_000;
const folder = mkdtempSync(join(tmpdir(), 'binnacle-bench-'));

/** The longest stretches between two turns of the event loop: what its thread computed in them, and how long they took, in which others may have had its core. */
async function longest(what: string, work: () => Promise<unknown>): Promise<void> {
  const turns: { wallMs: number; cpuMs: number }[] = [];
  let [lastMs, lastCpu, isDone] = [performance.now(), process.threadCpuUsage(), false];
  const turn = (): void => {
    const wallMs = performance.now() - lastMs;
    if (wallMs > 5) {
      const { user, system } = process.threadCpuUsage(lastCpu);
      turns.push({ wallMs, cpuMs: (user + system) / 1_000 });
    }
    [lastMs, lastCpu] = [performance.now(), process.threadCpuUsage()];
    if (!isDone) setImmediate(turn);
  };
  setImmediate(turn);
  const startMs = performance.now();
  await work();
  isDone = true;
  const three = turns.sort((a, b) => b.cpuMs - a.cpuMs).slice(0, 3).map(({ wallMs, cpuMs }) => `${cpuMs.toFixed(0)} ms of CPU (${wallMs.toFixed(0)} by the clock)`);
  console.log(`${what}: ${((performance.now() - startMs) / 1_000).toFixed(1)} s; longest ${three.join(', ') || 'below 5 ms'}`);
}

const config = new NodeConfig();
config.dataDir = folder;
Object.assign(config.node, { id: 'ingest-0', port: 0 });
Object.assign(config.ingest, { statsd: false, flushIntervalMs: 3_600_000, seriesMax: seriesCount + 1_000, keyspaceSeriesMax: seriesCount + 1_000 });
config.log.level = 'error';
const node = await startNode({ roles: ['ingest'], modules: [IngestModule], defaultPort: 0 }, config);
try {
  const ingest = node.app.get(Ingest);
  const kinds = ['counter', 'gauge', 'timer', 'set'] as const;
  const writer = new RawMessageWriter('binnacle');
  for (let at = 0; at < seriesCount; at++) {
    const series = newSeries({ kind: kinds[at % 4] as (typeof kinds)[0], name: `api.service${at % 100}.endpoint${at}.calls`, tags: ['env:prod', 'region:eu'], source: '10.0.0.1' });
    if (series.kind === 'set') series.members.add('anna');
    else if (series.kind === 'timer') for (let value = 0; value < 10; value++) series.values.add(value * at);
    else series.value = at;
    writer.add(series);
  }
  const messages = writer.take();
  const headers = { [clusterSecretHeader]: node.context.clusterSecret };
  const post = async (body: Uint8Array): Promise<void> => {
    const answer = await fetch(`http://${node.address}/v2/raw`, { method: 'POST', headers, body: body as never });
    if (answer.status !== 202) throw new Error(`answered ${answer.status}`);
  };
  console.log(`${seriesCount} series, ${messages.length} messages; load ${loadavg().map((each) => each.toFixed(1)).join(' ')}`);
  await longest('rest', () => new Promise((resolve) => setTimeout(resolve, restMs)));
  for (let round = 0; round < 3; round++) {
    await longest('messages of 0.5 MB', async () => {
      for (const message of messages) await post(message);
    });
    await longest('flush', () => ingest.flush());
    await longest('exposition', async () => (await fetch(`http://${node.address}/metrics/ingested`, { headers })).arrayBuffer());
  }
  const whole = Buffer.concat(messages.slice(0, 25));
  await longest(`one message of ${(whole.length / 2 ** 20).toFixed(0)} MiB`, () => post(whole));
} finally {
  await node.stop();
  rmSync(folder, { recursive: true, force: true });
}
