/*
 * sysbench through one proxy, on one core, with and without a capture of its traffic, which take turns.
 * After a build:  node apps/proxy/bench/capture.bench.ts [seconds of a run] [pairs] [connections] [point_select,read_write] [compress]
 * Needs sysbench. Medians: queries a second, CPU of the proxy for 100,000 queries, and the ratio of both within the pairs.
 */
import '../test/typescript-files.mjs';
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const { startMariadb } = await import('@binnacle/testing/mariadb-server');
const { cpuSeconds, median, residentKb } = await import('./peers.js');
const { startProxy } = await import('../test/proxy-process.js');

const seconds = Number(process.argv[2] ?? 3);
const pairs = Number(process.argv[3] ?? 5);
const connections = Number(process.argv[4] ?? 64);
const workloads = (process.argv[5] ?? 'point_select,read_write').split(',');
const compress = process.argv[6] !== 'plain';
const run = promisify(execFile);

interface Measured {
  readonly queriesPerSecond: number;
  readonly cpuSeconds: number;
}

const server = await startMariadb({ args: ['--max-connections=600', '--innodb-buffer-pool-size=256M', '--table-open-cache=2000', '--skip-log-bin'] });
const table = ['--db-driver=mysql', '--mysql-host=127.0.0.1', '--mysql-user=root', '--mysql-password=root', '--mysql-db=test', '--tables=4', '--table-size=25000'];
await run('sysbench', ['oltp_read_write', ...table, `--mysql-port=${server.port}`, 'prepare']);
const proxy = await startProxy({ backends: [`127.0.0.1:${server.port}`], prefix: ['taskset', '-c', '1'], toml: 'traffic-roots = ["/tmp"]' });
const output = join(proxy.folder, 'capture');

async function measure(workload: string): Promise<Measured> {
  const before = cpuSeconds(proxy.pid);
  // Until the clients are there nothing is counted.
  const { stdout } = await run('sysbench', [`oltp_${workload}`, ...table, `--mysql-port=${proxy.port}`, `--threads=${connections}`, `--time=${seconds}`, 'run']);
  const used = cpuSeconds(proxy.pid) - before;
  const [, queries, rate] = /queries: +(\d+) +\(([\d.]+) per sec/.exec(stdout)!;
  return { queriesPerSecond: Number(rate), cpuSeconds: (used / Number(queries)) * 100_000 };
}

async function measureCaptured(workload: string): Promise<Measured> {
  rmSync(output, { recursive: true, force: true });
  await proxy.form('/api/traffic/capture', { output, duration: '10m', compress: String(compress) });
  const measured = await measure(workload);
  const ended = await proxy.form('/api/traffic/cancel', { type: 'capture' });
  if (/"error":"(?!manually)/.test(ended)) throw new Error(ended);
  return measured;
}

try {
  for (const workload of workloads) {
    await measure(workload);
    const without: Measured[] = [];
    const captured: Measured[] = [];
    for (let pair = 0; pair < pairs; pair++) {
      // Whoever comes first in one pair comes last in the next.
      if (pair % 2 === 0) without.push(await measure(workload));
      captured.push(await measureCaptured(workload));
      if (pair % 2 === 1) without.push(await measure(workload));
    }
    const line = (name: string, all: readonly Measured[]): string =>
      `  ${name.padEnd(16)} ${median(all.map((each) => each.queriesPerSecond)).toFixed(0).padStart(7)} queries/s  CPU ${median(all.map((each) => each.cpuSeconds)).toFixed(2)} s/100k`;
    const ratio = (key: keyof Measured): string => median(captured.map((each, index) => each[key] / without[index]![key])).toFixed(3);
    console.log(`${workload}, ${connections} connections, ${compress ? 'compressed' : 'plain'}\n${line('without', without)}\n${line('captured', captured)}\n  throughput ${ratio('queriesPerSecond')}, CPU ${ratio('cpuSeconds')}; proxy ${(residentKb(proxy.pid) / 1_024).toFixed(0)} MB`);
  }
} finally {
  await proxy.stop();
  await server.stop();
}
