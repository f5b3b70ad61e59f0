/*
 * sysbench through the proxy, against nothing, HAProxy (TCP, 1 thread) and a bare pipe in Node.js, which take turns; each runs on one and the same core.
 * After a build:  node apps/proxy/bench/data-path.bench.ts [seconds of a run] [rounds] [connections, separated by commas] [point_select,read_write]
 * Needs sysbench and haproxy. Medians: queries a second and their ratios, CPU of the peer for 100,000 queries, p99 of an event.
 */
import '../test/typescript-files.mjs';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const { startMariadb } = await import('@binnacle/testing/mariadb-server');
const { barePipe, binnacle, cpuSeconds, direct, haproxy, median } = await import('./peers.js');

const seconds = Number(process.argv[2] ?? 3);
const rounds = Number(process.argv[3] ?? 3);
const connectionCounts = (process.argv[4] ?? '1,16,64,256').split(',').map(Number);
const workloads = (process.argv[5] ?? 'point_select,read_write').split(',');
const run = promisify(execFile);

interface Measured {
  readonly queriesPerSecond: number;
  /** Of the peer, for 100,000 queries. */
  readonly cpuSeconds: number;
  readonly p99Ms: number;
}

const server = await startMariadb({ args: ['--max-connections=600', '--innodb-buffer-pool-size=256M', '--table-open-cache=2000', '--skip-log-bin'] });
const table = ['--db-driver=mysql', '--mysql-host=127.0.0.1', '--mysql-user=root', '--mysql-password=root', '--mysql-db=test', '--tables=4', '--table-size=25000', '--percentile=99'];
await run('sysbench', ['oltp_read_write', ...table, `--mysql-port=${server.port}`, 'prepare']);
const peers = [direct(server.port), await haproxy(server.port), await barePipe(server.port), await binnacle(server.port)];

async function measure(port: number, pid: number | undefined, workload: string, connections: number): Promise<Measured> {
  const before = pid === undefined ? 0 : cpuSeconds(pid);
  const { stdout } = await run('sysbench', [`oltp_${workload}`, ...table, `--mysql-port=${port}`, `--threads=${connections}`, `--time=${seconds}`, 'run']);
  const used = pid === undefined ? 0 : cpuSeconds(pid) - before;
  const [, queries, rate] = /queries: +(\d+) +\(([\d.]+) per sec/.exec(stdout)!;
  return { queriesPerSecond: Number(rate), cpuSeconds: (used / Number(queries)) * 100_000, p99Ms: Number(/99th percentile: +([\d.]+)/.exec(stdout)?.[1]) };
}

try {
  for (const workload of workloads) {
    for (const connections of connectionCounts) {
      const results = new Map<string, Measured[]>(peers.map(({ name }) => [name, []]));
      for (let round = 0; round < rounds; round++) {
        // Whoever comes first in one round comes last in the next.
        for (const { name, port, pid } of round % 2 === 0 ? peers : peers.toReversed()) results.get(name)!.push(await measure(port, pid, workload, connections));
      }
      const figure = (name: string, key: keyof Measured): number => median(results.get(name)!.map((each) => each[key]));
      const lines = peers.map(({ name }) => {
        const rate = figure(name, 'queriesPerSecond');
        const cpu = figure(name, 'cpuSeconds');
        const ratios = name === 'Binnacle' ? `  of direct ${(rate / figure('direct', 'queriesPerSecond')).toFixed(2)}, HAProxy ${(rate / figure('HAProxy', 'queriesPerSecond')).toFixed(2)}, pipe ${(rate / figure('Node pipe', 'queriesPerSecond')).toFixed(2)}; CPU of HAProxy's ${(cpu / figure('HAProxy', 'cpuSeconds')).toFixed(2)}, of the pipe's ${(cpu / figure('Node pipe', 'cpuSeconds')).toFixed(2)}` : '';
        return `  ${name.padEnd(10)} ${rate.toFixed(0).padStart(7)} queries/s  CPU ${cpu.toFixed(2)} s/100k  p99 ${figure(name, 'p99Ms').toFixed(2)} ms${ratios}`;
      });
      console.log(`${workload}, ${connections} connections\n${lines.join('\n')}`);
    }
  }
} finally {
  for (const peer of peers) await peer.stop();
  await server.stop();
}
