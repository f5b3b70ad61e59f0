/*
 * sysbench through one proxy, on one core, with and without a capture of its traffic, which take turns while the load goes on; sysbench and MariaDB have the other core.
 * After `npx nx run-many -t build`:  node apps/proxy/bench/capture.bench.ts [seconds of a turn] [pairs] [connections] [point_select,read_write] [compress|plain]
 * Needs sysbench. Medians: queries a second, CPU of the proxy for 100,000 queries, and the ratio of both within the pairs. What the proxy could do if others
 * did not take their time is one divided by the CPU, which is the ratio to look at where it does not have its core busy.
 */
import '../test/typescript-files.mjs';
import { execFile, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as passed } from 'node:timers/promises';
import { promisify } from 'node:util';

const { startMariadb } = await import('@binnacle/testing/mariadb-server');
const { cpuSeconds, median, residentKb } = await import('./peers.js');
const { startProxy } = await import('../test/proxy-process.js');

const seconds = Number(process.argv[2] ?? 3);
const pairs = Number(process.argv[3] ?? 9);
const connections = Number(process.argv[4] ?? 64);
const workloads = (process.argv[5] ?? 'point_select,read_write').split(',');
const compress = process.argv[6] !== 'plain';
const run = promisify(execFile);
/** After a change, until it is the only thing that is measured. */
const settleMs = 700;

interface Measured {
  readonly queriesPerSecond: number;
  readonly cpuSeconds: number;
}

// And all that it starts, but for the proxy.
await run('taskset', ['-acp', '0', String(process.pid)]);
const server = await startMariadb({ args: ['--max-connections=600', '--innodb-buffer-pool-size=256M', '--table-open-cache=2000', '--skip-log-bin'] });
const table = ['--db-driver=mysql', '--mysql-host=127.0.0.1', '--mysql-user=root', '--mysql-password=root', '--mysql-db=test', '--tables=4', '--table-size=25000'];
await run('sysbench', ['oltp_read_write', ...table, `--mysql-port=${server.port}`, 'prepare']);
const proxy = await startProxy({ backends: [`127.0.0.1:${server.port}`], prefix: ['taskset', '-c', '1'], toml: 'traffic-roots = ["/tmp"]' });
const output = join(proxy.folder, 'capture');

async function queries(): Promise<number> {
  const { stdout } = await run('mariadb', [`--port=${server.port}`, '--protocol=tcp', '--user=root', '--password=root', '--skip-column-names', '--execute', "SHOW GLOBAL STATUS LIKE 'Queries'"]);
  return Number(stdout.split('\t')[1]);
}

async function measure(): Promise<Measured> {
  await passed(settleMs);
  const [cpuBefore, queriesBefore, startMs] = [cpuSeconds(proxy.pid), await queries(), performance.now()];
  await passed(seconds * 1_000);
  const [used, count, tookMs] = [cpuSeconds(proxy.pid) - cpuBefore, (await queries()) - queriesBefore, performance.now() - startMs];
  return { queriesPerSecond: count / (tookMs / 1_000), cpuSeconds: (used / count) * 100_000 };
}

async function measureCaptured(): Promise<Measured> {
  rmSync(output, { recursive: true, force: true });
  await proxy.form('/api/traffic/capture', { output, duration: '10m', compress: String(compress) });
  const measured = await measure();
  const ended = await proxy.form('/api/traffic/cancel', { type: 'capture' });
  if (/"error":"(?!manually)/.test(ended)) throw new Error(ended);
  return measured;
}

async function compare(workload: string): Promise<void> {
  const load = spawn('sysbench', [`oltp_${workload}`, ...table, `--mysql-port=${proxy.port}`, `--threads=${connections}`, '--time=0', 'run'], { stdio: 'ignore' });
  try {
    await passed(3_000);
    const without: Measured[] = [];
    const captured: Measured[] = [];
    for (let pair = 0; pair < pairs; pair++) {
      // Whoever comes first in one pair comes last in the next.
      if (pair % 2 === 0) without.push(await measure());
      captured.push(await measureCaptured());
      if (pair % 2 === 1) without.push(await measure());
    }
    const line = (name: string, all: readonly Measured[]): string =>
      `  ${name.padEnd(16)} ${median(all.map((each) => each.queriesPerSecond)).toFixed(0).padStart(7)} queries/s  CPU ${median(all.map((each) => each.cpuSeconds)).toFixed(2)} s/100k`;
    const ratio = (key: keyof Measured): string => median(captured.map((each, index) => each[key] / without[index]![key])).toFixed(3);
    console.log(`${workload}, ${connections} connections, ${compress ? 'compressed' : 'plain'}\n${line('without', without)}\n${line('captured', captured)}\n  throughput ${ratio('queriesPerSecond')}, CPU ${ratio('cpuSeconds')}; proxy ${(residentKb(proxy.pid) / 1_024).toFixed(0)} MB`);
  } finally {
    load.kill();
  }
}

try {
  for (const workload of workloads) await compare(workload);
} finally {
  await proxy.stop();
  await server.stop();
}
