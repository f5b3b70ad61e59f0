import { execFile, fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/*
 * The gateway in front of one node, against the node itself, nginx (one worker, kept connections) and bare @fastify/http-proxy:
 * `node apps/gateway/bench/gateway.bench.ts` after a build. Needs wrk and nginx (`apt-get install wrk nginx-light`), and for the idle
 * connections `ulimit -n 21000`. The contestants take turns, so that whatever else the machine does hits all of them; figures are medians.
 * BENCH_SECONDS: of a run (5). BENCH_ONLY: contestants by name, joined by commas. BENCH_NODE_ARGS: for the gateway, such as --cpu-prof.
 */

const rounds = 5;
const secondsPerRun = Number(process.env['BENCH_SECONDS'] ?? 5);
const only = process.env['BENCH_ONLY']?.split(',');
const connections = 64;
const idleConnections = 10_000;
/** The gateway answers /livez itself unless a node is named; the others pay no attention to the query. */
const path = '/livez?node=storage-0';
const run = promisify(execFile);

interface Contestant {
  readonly name: string;
  readonly port: number;
}

/** `perSecond`: requests; `medianUs`: latency. */
interface Figures {
  readonly perSecond: number;
  readonly medianUs: number;
}

const children: ChildProcess[] = [];
const folder = mkdtempSync(join(tmpdir(), 'binnacle-bench-'));

interface Started {
  readonly child: ChildProcess;
  readonly message: { readonly port: number; readonly labels: Record<string, string> };
}

async function start(file: string, env: Record<string, string>, execArgv: string[] = []): Promise<Started> {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), { env: { ...process.env, ...env }, execArgv });
  children.push(child);
  const [message] = (await once(child, 'message')) as [Started['message']];
  return { child, message };
}

const temporaryPaths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder};`).join(' ');
const nginxConfig = (port: number, nodePort: number): string => `
daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
events { worker_connections 4096; }
http {
  access_log off; ${temporaryPaths} keepalive_requests 100000000;
  upstream node { server 127.0.0.1:${nodePort}; keepalive ${connections}; keepalive_requests 100000000; }
  server { listen 127.0.0.1:${port}; location / { proxy_pass http://node; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}`;

async function startNginx(nodePort: number): Promise<number> {
  const port = 18_480;
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, nginxConfig(port, nodePort));
  children.push(spawn('nginx', ['-c', file, '-p', folder], { stdio: 'ignore' }));
  for (let attempt = 0; attempt < 100; attempt++) {
    if ((await fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined))?.ok) return port;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('nginx did not start');
}

async function wrk(port: number, clients: number): Promise<Figures> {
  const url = `http://127.0.0.1:${port}${path}`;
  const { stdout } = await run('wrk', ['-t1', `-c${clients}`, `-d${secondsPerRun}s`, '--latency', url]);
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`not every request succeeded:\n${stdout}`);
  const [, median, unit] = /50%\s+([\d.]+)(us|ms|s)/.exec(stdout) ?? [];
  const usPerUnit = { us: 1, ms: 1e3, s: 1e6 }[unit as 'us' | 'ms' | 's'];
  return { perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]), medianUs: Number(median) * usPerUnit };
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;

async function compare(contestants: readonly Contestant[], clients: number): Promise<Map<string, Figures>> {
  const results = new Map(contestants.map(({ name }) => [name, [] as Figures[]]));
  for (let round = 0; round < rounds; round++) {
    for (const { name, port } of contestants) results.get(name)?.push(await wrk(port, clients));
  }
  const medians = (all: readonly Figures[]): Figures => ({
    perSecond: median(all.map((one) => one.perSecond)),
    medianUs: median(all.map((one) => one.medianUs)),
  });
  return new Map([...results].map(([name, all]) => [name, medians(all)]));
}

/** kB of the gateway for each idle connection that has had a request. */
async function idleKilobytes({ child }: Started, port: number): Promise<number> {
  const memory = async (): Promise<number> => {
    child.send('memory');
    return ((await once(child, 'message')) as [{ rss: number }])[0].rss;
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

function print(name: string, value: number, digits: number, text: string): void {
  console.log(`${name.padEnd(20)} ${value.toFixed(digits).padStart(8)} ${text}`);
}

async function measure(kind: 'binnacle' | 'bare'): Promise<void> {
  const node = await start('one-node.ts', { NODE_KIND: kind });
  const env = { NODE_PORT: String(node.message.port) };
  const gatewayArgs = (process.env['BENCH_NODE_ARGS'] ?? '').split(' ').filter(Boolean);
  const gateway = await start('../test/gateway-process.ts', env, gatewayArgs);
  const gatewayPort = Number(gateway.message.labels['gateway-port']);
  const contestants: Contestant[] = [
    { name: 'node direct', port: node.message.port },
    { name: 'nginx', port: await startNginx(node.message.port) },
    { name: '@fastify/http-proxy', port: (await start('fastify-http-proxy.ts', env)).message.port },
    { name: 'gateway', port: gatewayPort },
  ].filter(({ name }) => only?.includes(name) ?? true);
  for (const { port } of contestants) await wrk(port, connections);

  console.log(kind === 'bare' ? '\nin front of a bare node:http server' : '\nin front of a node of Binnacle');
  const busy = await compare(contestants, connections);
  const own = busy.get('gateway')?.perSecond ?? NaN;
  for (const [name, { perSecond }] of busy) {
    print(name, perSecond, 0, `requests/s at ${connections} connections; the gateway has ${(own / perSecond).toFixed(2)} of it`);
  }
  const quiet = await compare(contestants, 1);
  const directUs = quiet.get('node direct')?.medianUs ?? NaN;
  for (const [name, { medianUs }] of quiet) print(name, medianUs, 0, `µs median at 1 connection; adds ${(medianUs - directUs).toFixed(0)} µs`);
  if (kind === 'binnacle' && only === undefined) {
    print('gateway', await idleKilobytes(gateway, gatewayPort), 1, `kB for each of ${idleConnections} idle connections`);
  }
}

async function stopChildren(): Promise<void> {
  const ended = children.splice(0).map(async (child) => {
    const exit = once(child, 'exit');
    if (child.connected) child.disconnect();
    else child.kill('SIGTERM');
    await exit;
  });
  await Promise.all(ended);
}

console.log(`Node.js ${process.version}, ${availableParallelism()} cores, ${rounds} rounds of ${secondsPerRun} s`);
try {
  for (const kind of ['binnacle', 'bare'] as const) {
    await measure(kind);
    await stopChildren();
  }
} finally {
  await stopChildren();
  rmSync(folder, { recursive: true, force: true });
}
