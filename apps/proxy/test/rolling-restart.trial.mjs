/*
 * A rolling restart under sysbench, after a build:  node apps/proxy/test/rolling-restart.trial.mjs [connections] [nodes] [rounds]
 * All backends restart one after another (drained, stopped, started, synced, let in again) while sysbench runs oltp_read_write through the proxy. sysbench ends at the first error of a client
 * that is none of the database's own making (1213, 1205 and 1020, which Galera answers to transactions that want the same rows, are counted and tried again); then this exits 1.
 */
import './typescript-files.mjs';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';

const { startGalera } = await import('@binnacle/testing/galera');
const { startProxy } = await import('./proxy-process.js');
const { restartBackend } = await import('./rolling-restart.js');

const [connections = 64, nodes = 2, rounds = 1] = process.argv.slice(2).map(Number);
const cluster = await startGalera({ nodes, args: ['--max-connections=500', '--innodb-buffer-pool-size=256M', '--table-open-cache=2000'] });
const proxy = await startProxy({ backends: cluster.nodes.map(({ port }) => `127.0.0.1:${port}`) });
const sysbench = ['oltp_read_write', '--db-driver=mysql', '--mysql-host=127.0.0.1', '--mysql-user=root', '--mysql-password=root', '--mysql-db=test', '--tables=8', '--table-size=20000', '--auto-inc=off'];
try {
  execFileSync('sysbench', [...sysbench, `--mysql-port=${cluster.nodes[0].port}`, 'prepare']);
  const load = spawn('sysbench', [...sysbench, `--mysql-port=${proxy.port}`, `--threads=${connections}`, '--time=0', '--events=0', '--report-interval=5', 'run'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [load.stdout, load.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text, process.stdout.write(text)));
  const ended = once(load, 'exit');
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  for (let round = 0; round < rounds; round++) {
    for (const node of cluster.nodes) {
      if (load.exitCode !== null) break;
      const { id, sessionsBefore, drainMs, left, restartMs } = await restartBackend(proxy, node, 60_000);
      console.log(`${id}: ${sessionsBefore} sessions left it within ${drainMs.toFixed(0)} ms, but for ${JSON.stringify(left)}; restarted and synced in ${restartMs.toFixed(0)} ms`);
      await new Promise((resolve) => setTimeout(resolve, 3_000));
    }
  }
  if (load.exitCode === null) load.kill('SIGINT');
  const [code, signal] = await ended;
  const metrics = await proxy.metrics();
  console.log(metrics.split('\n').filter((line) => /migrat/.test(line) && !line.startsWith('#') && !/_bucket/.test(line)).join('\n'));
  const failures = output.match(/FATAL[^\n]*|Lost connection[^\n]*/g) ?? [];
  console.log(`sysbench ended with ${code ?? signal}; failures: ${failures.length}${failures.length > 0 ? `\n${failures.slice(0, 10).join('\n')}` : ''}`);
  if (failures.length > 0 || (code !== null && code !== 0)) process.exitCode = 1;
} finally {
  await proxy.stop();
  await cluster.stop();
}
