/*
 * Documents read one by one over HTTP, by clients that keep their connections: of a storage node, and of a whole Binnacle in one process through
 * its gateway; against the bare rocksdb-native binding, called in its own process and served by a bare node:http server. From the root, under
 * Node.js 24, after a build; needs wrk:  node --conditions=@binnacle/source apps/storage/bench/point-reads.bench.ts [documents] [rounds]
 *
 * Documents of 200 bytes under random ids, 64 reads in flight. Contestants take turns, medians count. The load generator runs on the same
 * cores, so the CPU time of the reading process (all its threads) is told beside the rate. BENCH_NODE_ARGS: for the nodes, such as --cpu-prof.
 */
import { execFile, fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { waitUntil } from '@binnacle/testing/wait-until';

const documentCount = Number(process.argv[2] ?? 200_000);
const rounds = Number(process.argv[3] ?? 5);
const secondsPerRun = 4;
const inFlight = 64;
const rawReads = 400_000;
const portOffset = 21_000;
const documentsPath = '/collections/rows/documents';
const clusterSecret = 'the-secret-of-this-benchmark';
const msPerTick = 10;
const run = promisify(execFile);

interface Figures {
  readonly perSecond: number;
  readonly cpuUs: number;
}

interface Contestant {
  readonly name: string;
  readonly child: ChildProcess;
  readonly read: () => Promise<{ reads: number; seconds: number }>;
}

const folder = mkdtempSync(join(tmpdir(), 'binnacle-bench-'));
const children: ChildProcess[] = [];

function guarded(child: ChildProcess): ChildProcess {
  children.push(child);
  guardProcess(child.pid as number, '');
  return child;
}

async function startNode(main: string, name: string): Promise<{ child: ChildProcess; address: string }> {
  const file = fileURLToPath(new URL(main, import.meta.url));
  const args = (process.env['BENCH_NODE_ARGS'] ?? '').split(' ').filter(Boolean);
  const env = {
    ...process.env,
    BINNACLE_DATA_DIR: join(folder, name),
    BINNACLE_NODE_CLUSTER_SECRET: clusterSecret,
    BINNACLE_PORT_OFFSET: String(portOffset),
    BINNACLE_LOG_FORMAT: 'json',
  };
  const child = guarded(spawn(process.execPath, [...args, file, ...(name === 'whole' ? ['start'] : [])], { env, stdio: ['ignore', 'pipe', 'inherit'] }));
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const running = /"address":"([^"]+)"[^\n]*"msg":"node runs"/;
  await waitUntil(() => running.test(output) || child.exitCode !== null, { timeoutMs: 30_000, what: 'a node that runs' });
  return { child, address: running.exec(output)?.[1] as string };
}

async function fill(address: string): Promise<void> {
  const ask = async (path: string, body: string): Promise<void> => {
    const answer = await fetch(`http://${address}${path}`, { method: 'POST', body, headers: { [clusterSecretHeader]: clusterSecret, 'content-type': 'application/json' } });
    const text = await answer.text();
    if (!answer.ok || text.includes('"success":false')) throw new Error(text.slice(0, 500));
  };
  await ask('/collections', '{"name":"rows","fields":[{"name":"text","type":"string","index":false,"optional":true}]}');
  const text = 'x'.repeat(170);
  for (let first = 0; first < documentCount; first += 10_000) {
    const lines = Array.from({ length: Math.min(10_000, documentCount - first) }, (_, index) => `{"id":"row${first + index}","text":"${text}"}`);
    await ask(`${documentsPath}/import`, lines.join('\n'));
  }
}

/** wrk asks for random ids: 20,000 requests made in advance, so that making them costs nothing. */
async function wrk(address: string, path: string): Promise<{ reads: number; seconds: number }> {
  const script = join(folder, 'random-ids.lua');
  writeFileSync(
    script,
    `local all, at = {}, 0
     function init()
       math.randomseed(os.time())
       wrk.headers["${clusterSecretHeader}"] = "${clusterSecret}"
       for i = 1, 20000 do all[i] = wrk.format("GET", "${path}/row" .. math.random(0, ${documentCount - 1})) end
     end
     function request() at = at % 20000 + 1; return all[at] end`,
  );
  const { stdout } = await run('wrk', ['-t1', `-c${inFlight}`, `-d${secondsPerRun}s`, '-s', script, `http://${address}`]);
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`not every request succeeded:\n${stdout}`);
  const [, reads, seconds] = /(\d+) requests in ([\d.]+)s/.exec(stdout) ?? [];
  return { reads: Number(reads), seconds: Number(seconds) };
}

/** Of all threads of the process. */
function cpuMs({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * msPerTick;
}

async function measure({ child, read }: Contestant): Promise<Figures> {
  const before = cpuMs(child);
  const { reads, seconds } = await read();
  return { perSecond: reads / seconds, cpuUs: ((cpuMs(child) - before) * 1_000) / reads };
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;

try {
  const raw = guarded(fork(fileURLToPath(new URL('raw-reads.mjs', import.meta.url)), [join(folder, 'raw'), String(documentCount)]));
  const [{ port }] = (await once(raw, 'message')) as [{ port: number }];
  const rawCalls = async (): Promise<{ reads: number; seconds: number }> => {
    raw.send({ reads: rawReads, inFlight });
    const [{ ms }] = (await once(raw, 'message')) as [{ ms: number }];
    return { reads: rawReads, seconds: ms / 1_000 };
  };
  const node = await startNode('../dist/main.js', 'node');
  const whole = await startNode('../../cli/dist/main.js', 'whole');
  await fill(node.address);
  await fill(whole.address);
  const contestants: Contestant[] = [
    { name: 'binding, called in its process', child: raw, read: rawCalls },
    { name: 'binding behind node:http', child: raw, read: () => wrk(`127.0.0.1:${port}`, '') },
    { name: 'storage node', child: node.child, read: () => wrk(node.address, documentsPath) },
    { name: 'Binnacle through its gateway', child: whole.child, read: () => wrk(`127.0.0.1:${8_108 + portOffset}`, documentsPath) },
  ];
  const results = new Map(contestants.map((contestant) => [contestant, [] as Figures[]]));
  // The first round is for the compilers.
  for (let round = 0; round <= rounds; round++) {
    for (const [contestant, figures] of results) {
      const one = await measure(contestant);
      if (round > 0) figures.push(one);
    }
  }
  const medians = [...results].map(([{ name }, all]) => ({ name, perSecond: median(all.map((one) => one.perSecond)), cpuUs: median(all.map((one) => one.cpuUs)) }));
  const [calls, served] = medians.map(({ perSecond }) => perSecond) as [number, number];
  for (const { name, perSecond, cpuUs } of medians) {
    const ratios = `${(perSecond / calls).toFixed(2)} of the binding, ${(perSecond / served).toFixed(2)} of it behind node:http`;
    console.log(`${name.padEnd(32)} ${Math.round(perSecond).toLocaleString('en').padStart(8)} reads/s, ${cpuUs.toFixed(1).padStart(5)} µs of CPU each; ${ratios}`);
  }
  // SIGTERM, so that what --cpu-prof took is written.
  for (const { child } of [node, whole]) child.kill('SIGTERM');
  await Promise.all([node, whole].map(({ child }) => exited(child)));
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
