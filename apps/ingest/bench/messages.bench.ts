/*
 * Series merged a second from messages over HTTP, each acknowledged when it is on the disk; and memory of a series of each kind. From the root, under
 * Node.js 24, after a build:  node --conditions=@binnacle/source apps/ingest/bench/messages.bench.ts [seconds] [rounds] [series of a message]
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request as httpRequest, Agent } from 'node:http';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { deflateSync } from 'node:zlib';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { freePort } from '@binnacle/testing/free-port';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { waitUntil } from '@binnacle/testing/wait-until';
import { RawMessageWriter } from '../dist/forwarding/raw-message-writer.js';
import type { MetricKind } from '../src/series/metric-kind.ts';
import { newSeries } from '../dist/series/series.js';

const seconds = Number(process.argv[2] ?? 5);
const rounds = Number(process.argv[3] ?? 3);
const seriesOfMessage = Number(process.argv[4] ?? 10_000);
const memorySeries = 100_000;
const secret = 'the-secret-of-this-benchmark-run';
const msPerTick = 10;
const folder = mkdtempSync(join(tmpdir(), 'binnacle-bench-'));
const agent = new Agent({ keepAlive: true });

interface Node {
  readonly child: ChildProcess;
  readonly post: (body: Buffer) => Promise<void>;
  readonly flushed: () => Promise<number>;
}

async function start(name: string, flushIntervalMs: number): Promise<Node> {
  const port = await freePort();
  const flags = {
    'node.id': name, 'data-dir': join(folder, name), 'node.port': port, 'node.cluster-secret': secret, 'log.level': 'error', 'ingest.statsd': false,
    'ingest.flush-interval-ms': flushIntervalMs, 'ingest.series-max': 1_000_000, 'ingest.keyspace-series-max': 1_000_000, 'ingest.expiry-ms': 86_400_000,
  };
  const nodeArgs = (process.env['BENCH_NODE_ARGS'] ?? '').split(' ').filter(Boolean);
  const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
  const child = spawn(process.execPath, [...nodeArgs, main, ...Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)], { stdio: ['ignore', 'ignore', 'inherit'] });
  guardProcess(child.pid as number, '');
  const headers = { [clusterSecretHeader]: secret };
  const get = async (route: string): Promise<string> => (await fetch(`http://127.0.0.1:${port}${route}`, { headers })).text();
  await waitUntil(async () => (await get('/readyz').catch(() => '')).includes('ok'), { timeoutMs: 30_000 });
  const post = (body: Buffer): Promise<void> =>
    new Promise((resolve, reject) => {
      const sent = httpRequest({ port, host: '127.0.0.1', path: '/v2/raw', method: 'POST', agent, headers: { ...headers, 'content-encoding': 'deflate', 'content-length': body.length } }, (answer) => {
        answer.resume().on('end', () => (answer.statusCode === 202 ? resolve() : reject(new Error(`answered ${answer.statusCode}`))));
      });
      sent.on('error', reject).end(body);
    });
  return { child, post, flushed: async () => Number(/^binnacle_ingest_flushes_total (\S+)$/m.exec(await get('/metrics'))?.[1]) };
}

/** Messages of so many series in all. */
function messagesOf(kind: MetricKind | 'mixed', count: number): Buffer[] {
  const writer = new RawMessageWriter('binnacle');
  const kinds: MetricKind[] = kind === 'mixed' ? ['counter', 'gauge', 'timer', 'set'] : [kind];
  for (let at = 0; at < count; at++) {
    const series = newSeries({ kind: kinds[at % kinds.length] as MetricKind, name: `api.service${at % 100}.endpoint${at}.calls`, tags: ['env:prod', 'region:eu'], source: '10.0.0.1' });
    if (series.kind === 'counter' || series.kind === 'gauge') series.value = at;
    else if (series.kind === 'set') for (const member of ['anna', 'bert', 'carl']) series.members.add(member);
    else {
      for (const value of [1, 2, 3]) series.values.add(value * at);
      series.sampledCount = 3;
    }
    if (series.kind === 'gauge') series.wasSet = true;
    writer.add(series);
  }
  return writer.take().map((message) => deflateSync(message));
}

const cpuS = (pid: number): number => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ').slice(11, 13).reduce((sum, ticks) => sum + (Number(ticks) * msPerTick) / 1_000, 0) ?? 0;
const rssKb = (pid: number): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

async function merge(): Promise<void> {
  const node = await start('merge', 10_000);
  const messages = messagesOf('mixed', seriesOfMessage);
  for (let at = 0; at < 20; at++) for (const message of messages) await node.post(message);
  const perSecond: number[] = [];
  const perCpuSecond: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const [startMs, startCpu] = [performance.now(), cpuS(node.child.pid as number)];
    let merged = 0;
    // Four forwarders, each waiting for its answer.
    await Promise.all(Array.from({ length: 4 }, async () => {
      while (performance.now() - startMs < seconds * 1_000) {
        for (const message of messages) await node.post(message);
        merged += seriesOfMessage;
      }
    }));
    perSecond.push((merged / (performance.now() - startMs)) * 1_000);
    perCpuSecond.push(merged / (cpuS(node.child.pid as number) - startCpu));
  }
  console.log(`messages of ${seriesOfMessage} series, deflated: ${Math.round(median(perSecond)).toLocaleString('en')} series/s, ${Math.round(median(perCpuSecond)).toLocaleString('en')} a CPU second`);
  node.child.kill('SIGKILL');
  await exited(node.child);
}

async function memory(kind: MetricKind): Promise<void> {
  const node = await start(`memory-${kind}`, 2_000);
  await node.post(messagesOf(kind, 1)[0] as Buffer);
  const flushes = async (count: number): Promise<void> => {
    const before = await node.flushed();
    await waitUntil(async () => (await node.flushed()) >= before + count, { timeoutMs: 60_000 });
  };
  await flushes(2);
  const before = rssKb(node.child.pid as number);
  const messages = messagesOf(kind, memorySeries);
  const during: number[] = [];
  for (let round = 0; round < 3; round++) {
    for (const message of messages) await node.post(message);
    during.push(rssKb(node.child.pid as number));
    await flushes(1);
  }
  await pause(3_000);
  const perSeries = (kb: number): string => (kb / memorySeries).toFixed(2);
  console.log(`${memorySeries.toLocaleString('en')} series, ${kind}: ${perSeries(rssKb(node.child.pid as number) - before)} kB of resident memory each after three flushes, ${perSeries(Math.max(...during) - before)} at most before one`);
  node.child.kill('SIGKILL');
  await exited(node.child);
}

try {
  console.log(`runs of ${seconds} s, medians of ${rounds}; load ${loadavg().map((each) => each.toFixed(1)).join(' ')}`);
  await merge();
  for (const kind of ['counter', 'gauge', 'timer', 'set'] as const) await memory(kind);
  console.log(`load ${loadavg().map((each) => each.toFixed(1)).join(' ')}`);
} finally {
  agent.destroy();
  rmSync(folder, { recursive: true, force: true });
}
