import { performance } from 'node:perf_hooks';

/** One event of Chrome's trace format; times in microseconds. */
export interface TraceEvent {
  readonly name: string;
  readonly cat: string;
  /** X: a span, C: a counter, M: metadata. */
  readonly ph: 'X' | 'C' | 'M';
  readonly ts: number;
  readonly dur?: number;
  readonly args?: Readonly<Record<string, unknown>>;
}

/** The rows of the picture. Calls nest; requests overlap, and have a row of their own. */
export const rows = ['JavaScript', 'gc', 'http', 'net', 'dns', 'user timing'] as const;
export type Row = (typeof rows)[number];

const originMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** A time of `performance.now()` in microseconds of the monotonic clock, which V8's samples are on. */
export function microsOf(performanceMs: number): number {
  return Math.round((performanceMs + originMs) * 1_000);
}
