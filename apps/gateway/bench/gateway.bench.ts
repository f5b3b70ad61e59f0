import { execFile, fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/*
 * The gateway in front of one node, against the node itself, nginx and bare @fastify/http-proxy:
 * `node apps/gateway/bench/gateway.bench.ts` after a build. Needs wrk and nginx (`apt-get install wrk nginx-light`), and for the idle
 * connections `ulimit -n 21000`. The contestants take turns, so that whatever else the machine does hits all of them.
 */

const rounds = 5;
const secondsPerRun = Number(process.env['BENCH_SECONDS'] ?? 5);
const connections = 64;
const idleConnections = 10_000;
const path = '/api/v1/leases';
const run = promisify(execFile);

interface Contestant {
  readonly name: string;
  readonly port: number;
}

const children: ChildProcess[] = [];
const folder = mkdtempSync(join(tmpdir(), 'binnacle-bench-'));

async function start(file: string, env: Record<string, string> = {}): Promise<{ child: ChildProcess; message: Record<string, unknown> }> {
  const execArgv = file.includes('gateway-process') ? (process.env['BENCH_NODE_ARGS'] ?? '').split(' ').filter(Boolean) : [];
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), { env: { ...process.env, ...env }, execArgv });
  children.push(child);
  const [message] = (await once(child, 'message')) as [Record<string, unknown>];
  return { child, message };
}

async function startNginx(nodePort: number): Promise<number> {
  const port = 18_480;
  const config = join(folder, 'nginx.conf');
  writeFileSync(
    config,
    `daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
events { worker_connections 4096; }
http {
  access_log off; client_body_temp_path ${folder}; proxy_temp_path ${folder}; fastcgi_temp_path ${folder}; uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
  keepalive_requests 100000000;
  upstream node { server 127.0.0.1:${nodePort}; keepalive ${connections}; keepalive_requests 100000000; }
  server { listen 127.0.0.1:${port}; location / { proxy_pass http://node; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}`,
  );
  children.push(spawn('nginx', ['-c', config, '-p', folder], { stdio: 'ignore' }));
  for (let attempt = 0; attempt < 100; attempt++) {
    if ((await fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined))?.ok) return port;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('nginx did not start');
}

/** Requests per second and the median latency in µs. */
async function wrk(port: number, clients: number): Promise<{ perSecond: number; medianUs: number }> {
  const { stdout } = await run('wrk', ['-t1', `-c${clients}`, `-d${secondsPerRun}s`, '--latency', `http://127.0.0.1:${port}${path}`]);
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`not every request succeeded:\n${stdout}`);
  const [, median = '0', unit = 'us'] = /50%\s+([\d.]+)(us|ms|s)/.exec(stdout) ?? [];
  return { perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]), medianUs: Number(median) * { us: 1, ms: 1e3, s: 1e6 }[unit as 'us'] };
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;

async function compare(contestants: readonly Contestant[], clients: number): Promise<Map<string, { perSecond: number; medianUs: number }>> {
  const results = new Map(contestants.map(({ name }) => [name, [] as { perSecond: number; medianUs: number }[]]));
  for (let round = 0; round < rounds; round++) for (const { name, port } of contestants) results.get(name)?.push(await wrk(port, clients));
  return new Map(
    [...results].map(([name, all]) => [name, { perSecond: median(all.map((one) => one.perSecond)), medianUs: median(all.map((one) => one.medianUs)) }]),
  );
}

/** kB of the gateway for each idle connection that has had a request. */
async function idleKilobytes(gateway: ChildProcess, port: number): Promise<number> {
  const memory = async () => {
    gateway.send('memory');
    return ((await once(gateway, 'message')) as [{ rss: number }])[0].rss;
  };
  const before = await memory();
  const sockets: Socket[] = [];
  while (sockets.length < idleConnections) {
    const batch = Array.from({ length: 250 }, async (_, index) => {
      // Two addresses: one alone has no more than 28,000 ports, some of which are taken.
      const socket = connect({ host: '127.0.0.1', port, localAddress: `127.0.0.${2 + (index % 2)}` });
      await once(socket, 'connect');
      socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
      await once(socket, 'data');
      return socket;
    });
    sockets.push(...(await Promise.all(batch)));
  }
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const after = await memory();
  for (const socket of sockets) socket.destroy();
  return (after - before) / 1_000 / idleConnections;
}

async function main(): Promise<void> {
  const node = await start('one-node.ts');
  const nodePort = node.message['port'] as number;
  const env = { NODE_PORT: String(nodePort) };
  const gateway = await start('../test/gateway-process.ts', env);
  const gatewayPort = Number((gateway.message['labels'] as Record<string, string>)['gateway-port']);
  const only = process.env['BENCH_ONLY']?.split(',');
  const contestants: Contestant[] = [
    { name: 'node direct', port: nodePort },
    { name: 'nginx', port: only && !only.includes('nginx') ? 0 : await startNginx(nodePort) },
    { name: '@fastify/http-proxy', port: only && !only.includes('@fastify/http-proxy') ? 0 : ((await start('fastify-http-proxy.ts', env)).message['port'] as number) },
    { name: 'gateway', port: gatewayPort },
  ].filter(({ name }) => only?.includes(name) ?? true);
  for (const { port } of contestants) await wrk(port, connections);

  console.log(`Node.js ${process.version}, ${availableParallelism()} cores, ${rounds} rounds of ${secondsPerRun} s`);
  const busy = await compare(contestants, connections);
  const gatewayPerSecond = busy.get('gateway')?.perSecond ?? NaN;
  for (const [name, { perSecond }] of busy) {
    console.log(`${name.padEnd(20)} ${perSecond.toFixed(0).padStart(7)} req/s at ${connections} connections; gateway ${(gatewayPerSecond / perSecond).toFixed(2)} of it`);
  }
  const quiet = await compare(contestants, 1);
  const directUs = quiet.get('node direct')?.medianUs ?? NaN;
  for (const [name, { medianUs }] of quiet) console.log(`${name.padEnd(20)} ${medianUs.toFixed(0).padStart(7)} µs median at 1 connection; adds ${(medianUs - directUs).toFixed(0)} µs`);
  if (only === undefined) console.log(`gateway              ${(await idleKilobytes(gateway.child, gatewayPort)).toFixed(1).padStart(7)} kB for each of ${idleConnections} idle connections`);
}

try {
  await main();
} finally {
  for (const child of children) {
    if (child.connected) child.disconnect();
    else child.kill('SIGTERM');
  }
  rmSync(folder, { recursive: true, force: true });
}
