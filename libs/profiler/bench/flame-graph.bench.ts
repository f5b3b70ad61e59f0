/*
 * A flame graph of 100,000 distinct stacks (a pprof of 10 MB): bytes in to SVG out, each time in a fresh process, so that nothing is warm; against
 * inferno-flamegraph or flamegraph.pl, whichever is in PATH (`cargo install inferno`), on the same stacks, folded.
 * Run after a build, under Node.js 24:  node libs/profiler/bench/flame-graph.bench.ts
 * Rounds alternate, medians count. Whole processes are compared too, which on our side includes the start of Node.js.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Function as PprofFunction, Location, Profile, Sample, StringTable } from 'pprof-format';
import { gunzipSync } from 'node:zlib';

const rounds = 7;
const stackCount = 100_000;
const built = (file: string): string => new URL(`../dist/${file}.js`, import.meta.url).href;
const peers = ['inferno-flamegraph', 'flamegraph.pl'];

/** A small generator of its own: the same numbers in every run. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/**
 * A gzipped CPU profile of about 10 MB inflated with `stackCount` distinct stacks, 30 to 60 frames deep, of 4,000 functions: every stack leaves
 * the one before it at a random height, as in a large service. Values are uneven: a few stacks are hot.
 */
async function largeProfile(stackCount: number): Promise<Buffer> {
  const random = randomOf(1);
  const stringTable = new StringTable();
  const functions = Array.from({ length: 4_000 }, (_, index) => {
    const name = stringTable.dedup(`Service${index % 97}.handle${index}Request`);
    return new PprofFunction({ id: index + 1, name, systemName: name, filename: stringTable.dedup(`file:///srv/app/src/module-${index % 300}.ts`), startLine: 1 + (index % 500) });
  });
  const location = functions.map(({ id }) => new Location({ id, line: [{ functionId: id, line: 1 }] }));
  const path: number[] = [];
  const seen = new Set<string>();
  const sample: Sample[] = [];
  while (sample.length < stackCount) {
    const keep = Math.floor(path.length * Math.sqrt(random()));
    const depth = 30 + Math.floor(30 * random());
    path.length = Math.min(keep, depth - 1);
    // Calls are not arbitrary: a function calls few others.
    while (path.length < depth) path.push(((path.at(-1) ?? 0) * 7 + Math.floor(12 * random() ** 2)) % functions.length);
    const key = path.join();
    if (seen.has(key)) continue;
    seen.add(key);
    const count = 1 + Math.floor(1 / (random() + 0.001));
    sample.push(new Sample({ locationId: path.map((index) => index + 1).reverse(), value: [count, count * 10_000_000] }));
  }
  const type = (name: string, unit: string) => ({ type: stringTable.dedup(name), unit: stringTable.dedup(unit) });
  const sampleType = [type('sample', 'count'), type('cpu', 'nanoseconds')];
  const { encodeProfile } = (await import(built('profile'))) as typeof import('../src/profile.js');
  return encodeProfile(new Profile({ sampleType, sample, location, function: functions, stringTable, durationNanos: 60_000_000_000 }));
}

/** In the child: renders once and says how long that took, with the modules loaded, and what it cost the processors. */
async function renderOnce(profileFile: string, svgFile: string): Promise<void> {
  const { flameGraph } = (await import(built('flame-graph'))) as typeof import('../src/flame-graph.js');
  const bytes = readFileSync(profileFile);
  const startMs = performance.now();
  const startCpu = process.cpuUsage();
  const svg = flameGraph(bytes, { title: 'bench' });
  const cpu = process.cpuUsage(startCpu);
  console.log(JSON.stringify({ elapsedMs: performance.now() - startMs, cpuMs: (cpu.user + cpu.system) / 1_000 }));
  writeFileSync(svgFile, svg);
}

async function compare(folder: string): Promise<void> {
  const { foldedStacks } = (await import(built('folded-stacks'))) as typeof import('../src/folded-stacks.js');
  const bytes = await largeProfile(stackCount);
  const [profileFile, foldedFile, svgFile] = ['profile.pb.gz', 'stacks.folded', 'ours.svg'].map((name) => join(folder, name)) as [string, string, string];
  writeFileSync(profileFile, bytes);
  writeFileSync(foldedFile, foldedStacks(bytes));
  const megabytes = (count: number): string => `${(count / 1e6).toFixed(1)} MB`;
  console.log(`pprof ${megabytes(gunzipSync(bytes).length)} (${megabytes(bytes.length)} gzipped), folded ${megabytes(statSync(foldedFile).size)}`);

  const peer = peers.find((name) => spawnSync(name, ['--help']).error === undefined);
  const figures = { render: [] as number[], cpu: [] as number[], process: [] as number[], peer: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    let startMs = performance.now();
    const said = execFileSync(process.execPath, [fileURLToPath(import.meta.url), profileFile, svgFile], { encoding: 'utf8' });
    const { elapsedMs, cpuMs } = JSON.parse(said) as { elapsedMs: number; cpuMs: number };
    figures.render.push(elapsedMs);
    figures.cpu.push(cpuMs);
    figures.process.push(performance.now() - startMs);
    if (peer === undefined) continue;
    startMs = performance.now();
    execFileSync(peer, [foldedFile], { maxBuffer: 2 ** 30, stdio: ['ignore', 'pipe', 'ignore'] });
    figures.peer.push(performance.now() - startMs);
  }
  report(figures, peer, megabytes(statSync(svgFile).size));
}

function report(figures: Record<'render' | 'cpu' | 'process' | 'peer', number[]>, peer: string | undefined, svgSize: string): void {
  const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
  const show = (name: string, values: readonly number[]): void =>
    console.log(`${name.padEnd(44)} ${median(values).toFixed(0).padStart(6)} ms   (rounds: ${values.map((value) => value.toFixed(0)).join(' ')})`);
  show(`bytes to SVG (${svgSize}), first run (target 500)`, figures.render);
  show('its CPU time', figures.cpu);
  show('the whole process', figures.process);
  if (peer === undefined) {
    console.log(`no peer: neither ${peers.join(' nor ')} is in PATH`);
    return;
  }
  show(`${peer}, the whole process`, figures.peer);
  console.log(`ratio to ${peer}: rendering ${(median(figures.render) / median(figures.peer)).toFixed(2)}, whole process ${(median(figures.process) / median(figures.peer)).toFixed(2)} (target 2.00 or less)`);
}

const [profileFile, svgFile] = process.argv.slice(2);
if (profileFile !== undefined && svgFile !== undefined) await renderOnce(profileFile, svgFile);
else {
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-bench-'));
  try {
    await compare(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
