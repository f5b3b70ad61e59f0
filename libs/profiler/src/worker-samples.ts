import type { Profiler } from 'node:inspector';
import { Function as ProfileFunction, Label, Line, Location, Sample, type Profile } from 'pprof-format';
import type { WorkerProfile } from './worker-threads.js';

type Node = Profiler.ProfileNode;

/**
 * Adds what worker threads did to a profile of the main thread, as pprof has it: the same sample types, functions and places, with
 * the label `thread`. Idle time is left out, as of the main thread. CPU time is what the thread used, shared out over its
 * samples. Threads of which that is not known share, by the time that they were not idle, what is left of `othersNanos`: the CPU
 * time of all threads but the main one. Returns the nanoseconds of CPU time that were added.
 */
export function addWorkerSamples(profile: Profile, workers: readonly WorkerProfile[], othersNanos: number): number {
  const frames = new Frames(profile);
  const key = profile.stringTable.dedup('thread');
  const busy = workers.map((worker) => ({ ...worker, ...busyHits(worker.profile) }));
  const measuredNanos = sum(busy.map(({ cpuNanos }) => cpuNanos ?? 0));
  const unmeasuredNanos = sum(busy.map(({ cpuNanos, busyNanos }) => (cpuNanos === undefined ? busyNanos : 0)));
  const cpuShare = Math.min(1, Math.max(othersNanos - measuredNanos, 0) / Math.max(unmeasuredNanos, 1));
  let addedNanos = 0;
  for (const { threadId, profile: sampled, cpuNanos, hits, hitsTotal, busyNanos } of busy) {
    const label = [new Label({ key, str: profile.stringTable.dedup(`worker ${threadId}`) })];
    for (const [stack, count] of stacksOf(sampled, hits, frames)) {
      const share = count / hitsTotal;
      const cpu = Math.round((cpuNanos ?? busyNanos * cpuShare) * share);
      addedNanos += cpu;
      profile.sample.push(new Sample({ locationId: stack, value: [count, Math.round(busyNanos * share), cpu], label }));
    }
  }
  return addedNanos;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

interface BusyHits {
  /** Samples by node, idle ones left out. */
  readonly hits: ReadonlyMap<number, number>;
  readonly hitsTotal: number;
  readonly busyNanos: number;
}

/** The first sample is taken where the profile starts, whatever the interval, and counts for nothing. */
function busyHits({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): BusyHits {
  const idle = new Set(nodes.filter((node) => node.callFrame.functionName === '(idle)').map(({ id }) => id));
  const hits = new Map<number, number>();
  let micros = 0;
  for (let i = 1; i < samples.length; i++) {
    micros += timeDeltas[i] ?? 0;
    const id = samples[i] as number;
    if (!idle.has(id)) hits.set(id, (hits.get(id) ?? 0) + 1);
  }
  const hitsTotal = sum([...hits.values()]);
  return { hits, hitsTotal, busyNanos: (hitsTotal * micros * 1_000) / Math.max(samples.length - 1, 1) };
}

function* stacksOf({ nodes }: Profiler.Profile, hits: ReadonlyMap<number, number>, frames: Frames): Generator<[stack: number[], count: number]> {
  const [root] = nodes;
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map<Node, Node>();
  for (const node of nodes) {
    for (const id of node.children ?? []) parents.set(byId.get(id) as Node, node);
  }
  for (const [id, count] of hits) {
    const stack: number[] = [];
    for (let node = byId.get(id); node !== undefined && node !== root; node = parents.get(node)) stack.push(...frames.of(node));
    yield [stack, count];
  }
}

/** Locations of a profile, which gets those that it does not have. */
class Frames {
  readonly #profile: Profile;
  readonly #functions = new Map<string, number>();
  readonly #locations = new Map<string, number>();

  constructor(profile: Profile) {
    this.#profile = profile;
    const { strings } = profile.stringTable;
    for (const { id, name, filename } of profile.function) {
      this.#functions.set(`${strings[Number(name)]} ${strings[Number(filename)]}`, Number(id));
    }
  }

  of({ callFrame: { functionName, url, lineNumber, columnNumber } }: Node): number[] {
    if (functionName === '(garbage collector)') return [this.#location('Garbage Collection', '', 0, 0), this.#location('Node.js', '', 0, 0)];
    // The inspector counts from 0, pprof from 1.
    const [line, column] = [lineNumber + 1, columnNumber + 1];
    const name = functionName || (line > 0 ? `(anonymous:L#${line}:C#${column})` : '(anonymous)');
    return [this.#location(name, url.startsWith('file://') ? url.slice('file://'.length) : url, line, column)];
  }

  #location(name: string, file: string, line: number, column: number): number {
    const key = `${name} ${file} ${line} ${column}`;
    const known = this.#locations.get(key);
    if (known !== undefined) return known;
    const id = this.#profile.location.length + 1;
    const functionId = this.#function(name, file);
    this.#profile.location.push(new Location({ id, line: [new Line({ functionId, line, column })] }));
    this.#locations.set(key, id);
    return id;
  }

  #function(name: string, file: string): number {
    const key = `${name} ${file}`;
    const known = this.#functions.get(key);
    if (known !== undefined) return known;
    const id = this.#profile.function.length + 1;
    const nameId = this.#profile.stringTable.dedup(name);
    const filename = this.#profile.stringTable.dedup(file);
    this.#profile.function.push(new ProfileFunction({ id, name: nameId, systemName: nameId, filename }));
    this.#functions.set(key, id);
    return id;
  }
}
