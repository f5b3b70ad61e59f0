/*
 * statsd lines a second on one core, over UDP and TCP, without losing one: an ingest node against the `statsd` of npm. From the root, under Node.js 24,
 * after a build; Linux, with `taskset`:  node --conditions=@binnacle/source apps/ingest/bench/lines.bench.ts [seconds] [rounds] [series]
 *
 * The server has one core and the sender the other; both servers get the same packets, have buffers of the same size, and always have some waiting, but never
 * more than these hold. Contestants take turns, medians count. That nothing was lost is checked: by the kernel's count, and by the server's own. Lines are told by the
 * CPU time of the server (all its threads, the kernel's work for it included), which is what one core takes that it has to itself.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { text } from 'node:stream/consumers';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { freePort } from '@binnacle/testing/free-port';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { waitUntil } from '@binnacle/testing/wait-until';

const seconds = Number(process.argv[2] ?? 3);
const rounds = Number(process.argv[3] ?? 5);
const seriesCount = Number(process.argv[4] ?? 10_000);
const [senderCore, serverCore] = ['0', '1'];
const secret = 'the-secret-of-this-benchmark-run';
const msPerTick = 10;
/** statsd calls `util.log` at its start, which Node.js 24 has no more; and the system's own buffer would hold no more than a moment's packets. */
const statsdPatch = 'data:text/javascript,import util from "node:util"; import dgram from "node:dgram"; util.log = () => {}; '
  + 'const { createSocket } = dgram; dgram.createSocket = (type, callback) => createSocket({ type, recvBufferSize: 4194304 }, callback);';
const folder = mkdtempSync(join(tmpdir(), 'binnacle-bench-'));
const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

interface Contestant {
  readonly name: string;
  readonly child: ChildProcess;
  readonly port: number;
  /** Lines taken since it started. */
  readonly taken: () => Promise<number>;
}

function onCore(core: string, args: readonly string[], output: 'ignore' | 'pipe' = 'ignore'): ChildProcess {
  const child = spawn('taskset', ['-c', core, process.execPath, ...args], { stdio: ['ignore', output, 'inherit'] });
  guardProcess(child.pid as number, '');
  return child;
}

async function startBinnacle(name: string, threads: number): Promise<Contestant> {
  const [nodePort, port] = [await freePort(), await freePort()];
  const flags = {
    'node.id': `ingest-${threads}`, 'data-dir': join(folder, String(threads)), 'node.port': nodePort, 'node.cluster-secret': secret, 'log.level': 'error',
    'ingest.udp-port': port, 'ingest.tcp-port': port, 'ingest.receiver-workers': threads, 'ingest.flush-interval-ms': 3_600_000, 'ingest.timer-values-max': 100_000_000,
  };
  const nodeArgs = (process.env['BENCH_NODE_ARGS'] ?? '').split(' ').filter(Boolean);
  const child = onCore(serverCore as string, [...nodeArgs, path('../dist/main.js'), ...Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)]);
  const get = async (route: string): Promise<string> => (await fetch(`http://127.0.0.1:${nodePort}${route}`, { headers: { [clusterSecretHeader]: secret } })).text();
  await waitUntil(async () => (await get('/readyz').catch(() => '')).includes('ok'), { timeoutMs: 30_000 });
  return { name, child, port, taken: async () => Number(/^binnacle_ingest_lines_total (\S+)$/m.exec(await get('/metrics'))?.[1]) };
}

async function startStatsd(protocol: 'udp' | 'tcp'): Promise<Contestant> {
  const [port, adminPort] = [await freePort(), await freePort()];
  const config = join(folder, `statsd-${protocol}.js`);
  writeFileSync(config, `{ servers: [{ server: './servers/${protocol}', address: '127.0.0.1', port: ${port} }], mgmt_address: '127.0.0.1', mgmt_port: ${adminPort}, backends: [], flushInterval: 3600000 }`);
  const child = onCore(serverCore as string, ['--import', statsdPatch, path('../../../node_modules/statsd/stats.js'), config]);
  const counters = async (): Promise<string> => {
    const socket = connect(adminPort, '127.0.0.1');
    socket.write('counters\n');
    let answer = '';
    for await (const chunk of socket) if ((answer += String(chunk)).includes('END')) break;
    return answer;
  };
  await waitUntil(async () => (await counters().catch(() => '')).includes('END'), { timeoutMs: 30_000 });
  return { name: `statsd, ${protocol}`, child, port, taken: async () => Number(/'statsd\.metrics_received': (\d+)/.exec(await counters())?.[1] ?? 0) };
}

const cpuS = (pid: number): number => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ').slice(11, 13).reduce((sum, ticks) => sum + (Number(ticks) * msPerTick) / 1_000, 0) ?? 0;

/** Lines a CPU second. */
async function run({ name, child, port, taken }: Contestant, protocol: string, bytesMax: number): Promise<number> {
  const [before, cpuBefore] = [await taken(), cpuS(child.pid as number)];
  const sender = onCore(senderCore as string, [path('line-sender.mjs'), protocol, ...[port, seconds, seriesCount, bytesMax, child.pid as number].map(String)], 'pipe');
  const printed = text(sender.stdout as NodeJS.ReadableStream);
  await once(sender, 'exit');
  const { lines } = JSON.parse(await printed) as { lines: number };
  const cpu = cpuS(child.pid as number) - cpuBefore;
  let counted = 0;
  await waitUntil(async () => (counted = (await taken()) - before) >= lines, { timeoutMs: 5_000 }).catch(() => undefined);
  if (counted !== lines) throw new Error(`${name} took ${counted} of ${lines} lines`);
  const drops = readFileSync('/proc/net/udp', 'utf8').split('\n').filter((line) => line.includes(`:${port.toString(16).toUpperCase().padStart(4, '0')} `)).map((line) => Number(line.trim().split(/\s+/).at(-1)));
  if (drops.some((count) => count > 0)) throw new Error(`${name} lost ${drops.join('+')} packets`);
  return lines / cpu;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

async function compare(contestants: readonly Contestant[], protocol: string, bytesMax: number, loaded: string): Promise<void> {
  const runs = contestants.map((): number[] => []);
  for (let round = 0; round < rounds; round++) for (const [at, each] of contestants.entries()) runs[at]?.push(await run(each, protocol, bytesMax));
  const peer = median(runs.at(-1) ?? []);
  for (const [at, { name }] of contestants.entries()) {
    const own = median(runs[at] ?? []);
    console.log(`${protocol}, ${loaded}: ${name}: ${Math.round(own).toLocaleString('en')} lines a CPU second, ${(own / peer).toFixed(1)} of statsd`);
  }
}

const children: ChildProcess[] = [];
try {
  console.log(`${seriesCount} series, runs of ${seconds} s, medians of ${rounds}; load ${loadavg().map((each) => each.toFixed(1)).join(' ')}`);
  const own = [await startBinnacle('ingest', 0), await startBinnacle('ingest with a receiver thread', 1)];
  const [udp, tcp] = [await startStatsd('udp'), await startStatsd('tcp')];
  children.push(...[...own, udp, tcp].map(({ child }) => child));
  await compare([...own, udp], 'udp', 1_400, 'packets of 1,400 bytes');
  await compare([...own, udp], 'udp', 1, 'one line a packet');
  await compare([...own, tcp], 'tcp', 1_400, 'one connection');
  console.log(`load ${loadavg().map((each) => each.toFixed(1)).join(' ')}`);
} finally {
  for (const child of children) child.kill('SIGKILL');
  await Promise.all(children.map(exited));
  rmSync(folder, { recursive: true, force: true });
}
