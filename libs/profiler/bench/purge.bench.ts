/*
 * Resident memory of a process that held 500 MB and let go of it: after that, after a garbage collection, and after a purge.
 * Run after a build:  node libs/profiler/bench/purge.bench.ts
 * Each line is a process of its own under jemalloc; medians of five.
 */
import { execFileSync } from 'node:child_process';
import { globSync } from 'node:fs';

const rounds = 5;
const library = globSync('/usr/lib/*/libjemalloc.so.2')[0];
if (library === undefined) throw new Error('apt-get install libjemalloc2');

const holds: Record<string, string> = {
  'buffers of 8 KiB': 'Array.from({ length: 61_000 }, () => Buffer.allocUnsafeSlow(8192).fill(1))',
  'buffers of 1 MiB': 'Array.from({ length: 477 }, () => Buffer.allocUnsafeSlow(1024 * 1024).fill(1))',
  'JavaScript objects': 'Array.from({ length: 6_000_000 }, (_, index) => ({ index, next: index + 0.5 }))',
};

const script = (hold: string): string => `
const { collectGarbage, purgeMemory } = await import(${JSON.stringify(new URL('../dist/memory-purge.js', import.meta.url).href)});
const rss = [process.memoryUsage.rss()];
let held = ${hold};
rss.push(process.memoryUsage.rss());
held = undefined;
rss.push(process.memoryUsage.rss());
collectGarbage();
await new Promise((resolve) => setTimeout(resolve, 300));
rss.push(process.memoryUsage.rss());
await purgeMemory();
rss.push(process.memoryUsage.rss());
console.log(JSON.stringify(rss));
`;

function measure(hold: string): number[] {
  const args = ['--max-old-space-size=2048', '--input-type=module', '-e', script(hold)];
  const output = execFileSync(process.execPath, args, { encoding: 'utf8', env: { ...process.env, LD_PRELOAD: library, MALLOC_CONF: '' } });
  return (JSON.parse(output) as number[]).map((bytes) => bytes / 1e6);
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

for (const [name, hold] of Object.entries(holds)) {
  const results = Array.from({ length: rounds }, () => measure(hold));
  const [start, held, dropped, collected, purged] = [0, 1, 2, 3, 4].map((step) => median(results.map((result) => result[step] ?? Number.NaN)).toFixed(0));
  console.log(`${name.padEnd(18)} start ${start} MB, held ${held}, let go ${dropped}, collected ${collected}, purged ${purged}`);
}
