import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Pool } from 'undici';
import type { Window } from './one-service.ts';

/*
 * What profiling costs a loaded Fastify route, in CPU time of the process for a request, against the same service without the profiler:
 * `node libs/profiler/bench/capture-overhead.bench.ts` after a build. The contestants take turns. Each generation has processes of its own,
 * because two runs of one program differ by what V8 chose to optimise; figures are medians of the ratios of neighbouring windows, with their
 * range. A profile's window holds its beginning and its encoding. BENCH_SECONDS: of a window (10). BENCH_GENERATIONS: (4).
 */

const seconds = Number(process.env['BENCH_SECONDS'] ?? 10);
const generations = Number(process.env['BENCH_GENERATIONS'] ?? 4);
const roundsPerGeneration = 3;
const connections = 16;
const idleSeconds = 20;

interface Service {
  readonly child: ChildProcess;
  readonly port: number;
}

async function start(profiler: 'absent' | 'loaded'): Promise<Service> {
  const child = fork(fileURLToPath(new URL('one-service.ts', import.meta.url)), { env: { ...process.env, PROFILER: profiler } });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return { child, port };
}

async function windowOf({ child }: Service, windowSeconds: number, frequencyHz: number): Promise<Window> {
  child.send({ seconds: windowSeconds, frequencyHz });
  return ((await once(child, 'message')) as [Window])[0];
}

/** Microseconds of CPU time for a request, under as much load as this thread makes. */
async function microsPerRequest(service: Service, windowSeconds: number, frequencyHz: number): Promise<number> {
  const pool = new Pool(`http://127.0.0.1:${service.port}`, { connections });
  let loading = true;
  const load = Array.from({ length: connections }, async () => {
    while (loading) await (await pool.request({ path: '/items?below=30', method: 'GET' })).body.dump();
  });
  const { cpuMs, requests } = await windowOf(service, windowSeconds, frequencyHz);
  loading = false;
  await Promise.all(load);
  await pool.close();
  return (cpuMs * 1_000) / requests;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;

const ratios = new Map<string, number[]>();

function note(name: string, ratio: number): void {
  ratios.set(name, [...(ratios.get(name) ?? []), ratio]);
}

async function generation(): Promise<void> {
  const services = [await start('absent'), await start('loaded'), await start('loaded')] as const;
  const [absent, loaded, captured] = services;
  for (const service of services) await microsPerRequest(service, 3, 0);
  await microsPerRequest(captured, 1, 99);
  for (let round = 0; round < roundsPerGeneration; round++) {
    const base = await microsPerRequest(absent, seconds, 0);
    note('profiler loaded, idle / no profiler', (await microsPerRequest(loaded, seconds, 0)) / base);
    const after = await microsPerRequest(captured, seconds, 0);
    note('after a first profile / no profiler', after / base);
    note('during 99 Hz / after, the same process', (await microsPerRequest(captured, seconds, 99)) / after);
    console.log(`no profiler: ${base.toFixed(1)} µs of CPU time a request`);
  }
  for (const { child } of services) child.disconnect();
}

for (let i = 0; i < generations; i++) await generation();
for (const [name, values] of ratios) {
  console.log(`${name.padEnd(40)} ${median(values).toFixed(3)}  (${Math.min(...values).toFixed(3)} to ${Math.max(...values).toFixed(3)})`);
}

const idle = await Promise.all([start('absent'), start('loaded')]);
for (let round = 0; round < 3; round++) {
  const [absent, loaded] = await Promise.all(idle.map((service) => windowOf(service, idleSeconds, 0)));
  console.log(`idle for ${idleSeconds} s: ${absent?.cpuMs.toFixed(1)} ms of CPU time without, ${loaded?.cpuMs.toFixed(1)} ms with the profiler loaded`);
}
for (const { child } of idle) child.disconnect();
