import type { BackendLoad } from './backend.js';

/** One reading of a server's `/metrics`; what it does not have is left away. */
export interface LoadSample {
  /** Monotonic. */
  readonly atMs: number;
  /** CPU seconds since its start, divided by its cores. */
  readonly cpuSeconds?: number;
  /** Share of its memory limit, 0 to 1. */
  readonly memoryUsage?: number;
  /** Backoffs since its start because of PD, and because of TiKV. */
  readonly pdErrors?: number;
  readonly storeErrors?: number;
}

const windowMs = 60_000;
/** Older readings say nothing any more. */
const staleMs = 60_000;
const samplesMax = 64;
/** Two readings closer than this give no rate. */
const gapMsMin = 1_000;
const smoothing = 0.5;
/** A server is often killed before its memory is used up. */
const memoryFull = 0.9;
/** Backoffs a minute: from the first number on some, from the second on too many. */
const pdErrorLevels = [10, 100] as const;
const storeErrorLevels = [100, 1_000] as const;

/** The last minute of a server's readings, and what follows from them. */
export class LoadHistory {
  #samples: LoadSample[] = [];
  #cpu: { average: number; latest: number; sessions: number } | undefined;

  /** @param sessions how many this node has there */
  add(sample: LoadSample, sessions: number): void {
    const last = this.#samples.at(-1);
    // A counter that went back: the server was restarted, and what was before is another's.
    if (last !== undefined && (sample.cpuSeconds ?? 0) < (last.cpuSeconds ?? 0)) this.clear();
    const usage = rate(this.#samples.at(-1), sample);
    if (usage !== undefined) {
      const average = this.#cpu === undefined ? usage : this.#cpu.average * (1 - smoothing) + usage * smoothing;
      this.#cpu = { average: Math.min(1, average), latest: Math.min(1, usage), sessions };
    }
    this.#samples = [...this.#samples.filter(({ atMs }) => sample.atMs - atMs <= windowMs), sample].slice(-samplesMax);
  }

  clear(): void {
    this.#samples = [];
    this.#cpu = undefined;
  }

  load(nowMs: number): BackendLoad | undefined {
    const last = this.#samples.at(-1);
    if (last === undefined || nowMs - last.atMs > staleMs) return undefined;
    const memory = this.#memory();
    const errors = this.#errors();
    return { ...(this.#cpu !== undefined && { cpu: this.#cpu }), ...(memory !== undefined && { memory }), ...(errors !== undefined && { errors }) };
  }

  #memory(): BackendLoad['memory'] {
    const known = this.#samples.filter(({ memoryUsage }) => memoryUsage !== undefined);
    const [before, last] = [known.at(-2), known.at(-1)];
    if (last === undefined) return undefined;
    const usage = Math.min(last.memoryUsage!, memoryFull);
    const grown = before === undefined ? 0 : usage - Math.min(before.memoryUsage!, memoryFull);
    const secondsToFull = grown > 0.000_1 ? ((last.atMs - before!.atMs) / 1_000) * ((memoryFull - usage) / grown) : Infinity;
    return { usage, secondsToFull };
  }

  #errors(): BackendLoad['errors'] {
    const pd = this.#perMinute('pdErrors');
    const store = this.#perMinute('storeErrors');
    if (pd === undefined && store === undefined) return undefined;
    return Math.max(level(pd ?? 0, pdErrorLevels), level(store ?? 0, storeErrorLevels)) as 0 | 1 | 2;
  }

  #perMinute(name: 'pdErrors' | 'storeErrors'): number | undefined {
    const known = this.#samples.filter((sample) => sample[name] !== undefined);
    const [first, last] = [known[0], known.at(-1)];
    if (first === undefined || last === undefined || last.atMs - first.atMs < gapMsMin) return undefined;
    return ((last[name]! - first[name]!) * 60_000) / (last.atMs - first.atMs);
  }
}

function rate(before: LoadSample | undefined, after: LoadSample): number | undefined {
  if (before?.cpuSeconds === undefined || after.cpuSeconds === undefined || after.atMs - before.atMs < gapMsMin) return undefined;
  return ((after.cpuSeconds - before.cpuSeconds) * 1_000) / (after.atMs - before.atMs);
}

function level(value: number, [some, many]: readonly [number, number]): 0 | 1 | 2 {
  return value >= many ? 2 : value > some ? 1 : 0;
}
