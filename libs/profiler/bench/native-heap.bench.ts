/*
 * What heap profiling by jemalloc costs and how far it is off, by its sampling step (lg_prof_sample), against the same process with
 * profiling off. Run after a build:  node libs/profiler/bench/native-heap.bench.ts
 * Cost: CPU time of a loop that does nothing but allocate and free buffers of 8 to 64 KiB. What profiling adds goes by the bytes that are
 * allocated, so the figure to take along is ms for each GB. Error: how far a profile's total is off 100 MB that are held in buffers of 8 to
 * 64 KiB. Rounds alternate, medians count; the largest error of all rounds is what a user can meet.
 */
import { execFileSync } from 'node:child_process';
import { globSync } from 'node:fs';

interface Round {
  readonly cpuMs: number;
  readonly error: number;
}

const steps = [15, 16, 17, 18, 19];
const rounds = 15;
/** 200,000 buffers of 30 KiB. */
const allocatedGb = 6.144;
const library = globSync('/usr/lib/*/libjemalloc.so.2')[0];
if (library === undefined) throw new Error('apt-get install libjemalloc2');

const script = `
const load = (name) => import(${JSON.stringify(new URL('../dist/', import.meta.url).href)} + name + '.js');
const { openJemalloc } = await load('jemalloc');
const { dumpNativeHeap } = await load('native-heap');
const { heapV2ToProfile } = await load('heap-v2');
const jemalloc = openJemalloc();
if (process.env.ACTIVE) jemalloc.setProfActive(true);
const churn = (count) => { for (let i = 0; i < count; i++) Buffer.allocUnsafeSlow(8192 << (i & 3)).buffer.transfer(0); };
churn(20_000);
const before = process.cpuUsage();
churn(200_000);
const { user, system } = process.cpuUsage(before);
const total = async () => {
  const profile = heapV2ToProfile((await dumpNativeHeap()).toString(), () => '??');
  return profile.sample.reduce((sum, { value }) => sum + Number(value[1]), 0);
};
async function error() {
  const without = await total();
  globalThis.held = [];
  for (let left = 100e6; left > 0; left -= held.at(-1).length) held.push(Buffer.allocUnsafeSlow(8192 << (held.length & 3)));
  return Math.abs((await total() - without) / 100e6 - 1);
}
console.log(JSON.stringify({ cpuMs: (user + system) / 1000, error: process.env.ACTIVE ? await error() : 0 }));
`;

function run(step: number | undefined): Round {
  const mallocConf = `prof:true,prof_active:false,lg_prof_sample:${step ?? 17}`;
  const env = { ...process.env, LD_PRELOAD: library, MALLOC_CONF: mallocConf, ACTIVE: step === undefined ? '' : '1' };
  return JSON.parse(execFileSync(process.execPath, ['--input-type=module', '-e', script], { env, encoding: 'utf8' })) as Round;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

const off: Round[] = [];
const on = new Map<number, Round[]>(steps.map((step) => [step, []]));
for (let round = 0; round < rounds; round++) {
  off.push(run(undefined));
  for (const step of steps) on.get(step)?.push(run(step));
}

const offMs = median(off.map(({ cpuMs }) => cpuMs));
console.log(`profiling off: ${offMs.toFixed(0)} ms CPU to allocate and free ${allocatedGb} GB`);
for (const [step, results] of on) {
  const cpuMs = median(results.map(({ cpuMs }) => cpuMs));
  const errors = results.map(({ error }) => error);
  const cost = `${(cpuMs / offMs).toFixed(2)}x, ${((cpuMs - offMs) / allocatedGb).toFixed(1)} ms more for each GB`;
  console.log(`lg_prof_sample:${step}  CPU ${cost}; error ${percent(median(errors))}, at most ${percent(Math.max(...errors))}`);
}
