/*
 * Names of addresses: how long the first ones take, how much the event loop of the process notices of it, and how many a second come after
 * that, against addr2line(1) of binutils on a part of the same addresses. Run after a build:
 *   node libs/profiler/bench/symbols.bench.ts
 * The addresses are spread evenly over the functions of this node binary. Ours include the way through the thread's channel, as the product has it.
 */
import { execFileSync } from 'node:child_process';
import { monitorEventLoopDelay } from 'node:perf_hooks';

const built = new URL('../dist/symbols.js', import.meta.url).href;
const { resolveSymbols } = (await import(built)) as typeof import('../src/symbols.js');

const addressCount = 100_000;
/** It takes 0.7 ms for each. */
const peerAddressCount = 2_000;
const rounds = 5;

const nm = execFileSync('nm', ['--defined-only', process.execPath], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
const starts = [...nm.matchAll(/^([0-9a-f]{16}) [Tt] /gm)].map(([, start]) => BigInt(`0x${start}`));
// A node binary that is not position-independent is loaded where its addresses say; every published one is such.
const addresses = Array.from({ length: addressCount }, (_, index) => starts[Math.floor((index * starts.length) / addressCount)] ?? 0n);

const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
const loadStartMs = performance.now();
const first = await resolveSymbols([addresses[0] ?? 0n]);
const loadMs = performance.now() - loadStartMs;
delay.disable();
console.log(`first name after ${loadMs.toFixed(0)} ms (${first[0]}); the event loop was late by at most ${(delay.max / 1e6).toFixed(1)} ms meanwhile`);

const median = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
const ours: number[] = [];
const theirs: number[] = [];
const spread = addresses.filter((_, index) => index % (addressCount / peerAddressCount) === 0);
const input = spread.map((address) => address.toString(16)).join('\n');
let resolved = 0;
for (let round = 0; round < rounds; round++) {
  const startMs = performance.now();
  const names = await resolveSymbols(addresses);
  ours.push((addressCount * 1_000) / (performance.now() - startMs));
  resolved = names.filter((name) => name !== '??').length;
  const peerStartMs = performance.now();
  execFileSync('addr2line', ['-f', '-e', process.execPath], { input, maxBuffer: 64 * 1024 * 1024, stdio: ['pipe', 'pipe', 'ignore'] });
  theirs.push((peerAddressCount * 1_000) / (performance.now() - peerStartMs));
}
const perSecond = median(ours);
const addr2line = median(theirs);
console.log(`${resolved} of ${addressCount} named; ${perSecond.toFixed(0)} a second, addr2line ${addr2line.toFixed(0)} with its own load: ratio ${(perSecond / addr2line).toFixed(1)}`);
