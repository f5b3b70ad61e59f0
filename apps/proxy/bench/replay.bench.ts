/*
 * sysbench captured in front of one MariaDB and replayed at speed 1 to a copy of it: how long the replay takes in comparison with the original. The aim is at most 1 % more or less.
 * After a build:  node apps/proxy/bench/replay.bench.ts [seconds of the load] [replays] [connections]
 * Needs sysbench. From the first command to the last; a replay that is no PASS has done something else, and ends it.
 */
import '../test/typescript-files.mjs';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as passed } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { ReportedRun, TrafficReport } from '../src/traffic/report/traffic-report.js';

const { startMariadb } = await import('@binnacle/testing/mariadb-server');
const { median } = await import('./peers.js');
const { verdictLine } = await import('../src/traffic/report/verdict.js');
const { startProxy } = await import('../test/proxy-process.js');

const seconds = Number(process.argv[2] ?? 40);
const replays = Number(process.argv[3] ?? 3);
const connections = Number(process.argv[4] ?? 8);
const run = promisify(execFile);
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'binnacle-replay-bench-')));
const output = join(folder, 'capture');
const table = ['--db-driver=mysql', '--mysql-host=127.0.0.1', '--mysql-user=root', '--mysql-password=root', '--mysql-db=test', '--tables=4', '--table-size=10000'];
// Threads that write the same rows race, and the replay races anew: readers are many, the writer is one.
const loads = [
  ['oltp_read_only', `--threads=${connections}`, `--rate=${connections * 15}`, `--time=${seconds}`],
  ['oltp_read_write', '--threads=1', '--rate=5', `--time=${Math.ceil(seconds / 4)}`],
];

const [original, copy] = await Promise.all([0, 1].map(() => startMariadb({ args: ['--innodb-buffer-pool-size=256M'] })));
const [capturing, replaying] = await Promise.all([original!, copy!].map(({ port }) => startProxy({ backends: [`127.0.0.1:${port}`], toml: `traffic-roots = ["${folder}"]` })));
const account = ['--user=root', '--password=root', 'test'];

async function replay(dump: Buffer): Promise<TrafficReport> {
  execFileSync('mariadb', ['--no-defaults', `--socket=${copy!.socketFile}`, ...account], { input: dump });
  await replaying!.form('/api/traffic/replay', { input: output, username: 'root', password: 'root' });
  const isRunning = async (): Promise<boolean> => (JSON.parse(String((await replaying!.api('GET', '/api/traffic/show')).body['text'])) as { state: string }[]).at(-1)?.state === 'running';
  while (await isRunning()) await passed(500);
  const report = (await replaying!.api('GET', '/api/traffic/report')).body as unknown as TrafficReport;
  if (report.verdict !== 'PASS') throw new Error([verdictLine(report), ...report.failures.map(({ line }) => line)].join('\n'));
  return report;
}

const span = ({ from, to }: ReportedRun): number => Date.parse(to) - Date.parse(from);
const inSeconds = (ms: number): string => (ms / 1_000).toFixed(2);

try {
  await run('sysbench', ['oltp_read_write', ...table, `--mysql-port=${original!.port}`, 'prepare']);
  const dump = execFileSync('mariadb-dump', ['--no-defaults', `--socket=${original!.socketFile}`, ...account], { maxBuffer: 2 ** 30 });
  await capturing!.form('/api/traffic/capture', { output, duration: '1h' });
  for (const [script, ...args] of loads) await run('sysbench', [script!, ...args, `--mysql-port=${capturing!.port}`, ...table, 'run']);
  await capturing!.form('/api/traffic/cancel', { type: 'capture' });
  const ratios: number[] = [];
  for (let round = 0; round < replays; round++) {
    const report = await replay(dump);
    ratios.push(span(report.replay) / span(report.capture));
    console.log(`${verdictLine(report)}\n  capture ${inSeconds(span(report.capture))} s, replay ${inSeconds(span(report.replay))} s: ratio ${ratios.at(-1)!.toFixed(4)}; at most ${report.replay.lagMaxMs} ms behind`);
  }
  console.log(`replay / capture: median ${median(ratios).toFixed(4)}, ${Math.min(...ratios).toFixed(4)} to ${Math.max(...ratios).toFixed(4)}`);
} finally {
  await Promise.all([capturing, replaying, original, copy].map((each) => each?.stop()));
  rmSync(folder, { recursive: true, force: true });
}
