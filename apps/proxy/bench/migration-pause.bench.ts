/*
 * How long a client is held while its session moves, against the time that a login at the backend itself takes, in turns.
 * After a build:  node apps/proxy/bench/migration-pause.bench.ts [migrations] [other connections under load]
 * The session has a changed variable, a database, two user variables and three prepared statements; its two backends are a Galera pair.
 */
import '../test/typescript-files.mjs';
import { spawn } from 'node:child_process';
import { Capability } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';

const { startGalera } = await import('@binnacle/testing/galera');
const { startProxy } = await import('../test/proxy-process.js');
const { WireClient } = await import('../test/wire-client.js');

const migrations = Number(process.argv[2] ?? 500);
const others = Number(process.argv[3] ?? 0);
const cluster = await startGalera({ args: ['--max-connections=600'] });
const addresses = cluster.nodes.map(({ port }) => `127.0.0.1:${port}`);
const proxy = await startProxy({ backends: addresses });
const capabilities = Capability.deprecateEof | Capability.sessionTrack;
const login = { user: 'root', password: 'root', database: 'test', capabilities };
const sysbench = ['oltp_point_select', '--db-driver=mysql', '--mysql-host=127.0.0.1', `--mysql-port=${proxy.port}`, '--mysql-user=root', '--mysql-password=root', '--mysql-db=test', `--threads=${Math.max(1, others)}`, '--time=0'];

function at(values: readonly number[], share: number): string {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))]!.toFixed(1);
}

try {
  if (others > 0) await new Promise((resolve) => spawn('sysbench', [...sysbench, 'prepare']).once('exit', resolve));
  const load = others > 0 ? spawn('sysbench', [...sysbench, 'run'], { stdio: 'ignore' }) : undefined;
  const client = await WireClient.login({ ...login, port: proxy.port });
  for (const sql of ["SET time_zone = '+01:00', @a = 1.5, @b = 'text'", 'USE test']) await client.send(Command.query, sql);
  for (const sql of ['SELECT ?', 'SELECT ? + 1', 'SELECT @a, ?']) await client.send(Command.stmtPrepare, sql);
  const pausesMs: number[] = [];
  const loginsMs: number[] = [];
  let refused = 0;
  for (let i = 0; i < migrations; i++) {
    const { body: session } = await proxy.api('GET', `/api/v1/sessions/${client.threadId}`);
    const to = addresses.find((address) => address !== session['backend'])!;
    const { status, body } = await proxy.api('POST', `/api/v1/sessions/${client.threadId}/migrate`, { to });
    if (status === 200) pausesMs.push(Number(body['pauseMs']));
    else if ((refused += 1) === 1) console.log(JSON.stringify(body));
    await client.send(Command.query, 'SELECT @a');
    const startedAtMs = performance.now();
    const direct = await WireClient.login({ ...login, port: Number(to.split(':')[1]) });
    loginsMs.push(performance.now() - startedAtMs);
    direct.close();
  }
  load?.kill('SIGKILL');
  console.log(`${pausesMs.length} migrations, ${refused} refused, ${others} other connections under load: paused for ${at(pausesMs, 0.5)} ms (p99 ${at(pausesMs, 0.99)}, most ${at(pausesMs, 1)}); a login at the backend ${at(loginsMs, 0.5)} ms (p99 ${at(loginsMs, 0.99)})`);
  client.close();
} finally {
  await proxy.stop();
  await cluster.stop();
}
