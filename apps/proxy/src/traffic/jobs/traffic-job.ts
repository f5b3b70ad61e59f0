import type { ReplayProgress } from '../replay/replay-order.js';
import type { CaptureWish } from './capture-form.js';
import { goDurationText, goTimeText } from './go-values.js';
import type { ReplayFilters, ReplayWish } from './replay-form.js';

/*
 * A capture or a replay as cluster state keeps it and `GET /api/traffic/show` gives it. Nothing in here is secret: passwords are in the memory of
 * the nodes that use them alone, while they do.
 */

export type JobState = 'running' | 'done' | 'failed' | 'canceled';

interface JobFacts {
  readonly id: string;
  readonly state: JobState;
  /** The proxy node that runs it, and which start of it. */
  readonly node: string;
  readonly incarnation: string;
  readonly startedAtMs: number;
  readonly endedAtMs?: number;
  /** 0 to 100. */
  readonly progress: number;
  /** Why it did not end as it was asked for; empty while it runs and when it did. */
  readonly error: string;
  /** What is worth knowing of one that goes on all the same. */
  readonly notes: readonly string[];
}

export interface CaptureJob extends JobFacts {
  readonly type: 'capture';
  readonly output: string;
  readonly durationMs: number;
  readonly compress: boolean;
  readonly encryptMethod: CaptureWish['encryptMethod'];
  readonly layers: CaptureWish['layers'];
  readonly captured: Captured;
  /** Folders or prefixes, by node and worker: `n1`, `n1-w0`. */
  readonly parts: Readonly<Record<string, string>>;
}

/** What all proxies have captured, in sum. */
export interface Captured {
  readonly commands: number;
  /** Statements left out, by why. */
  readonly leftOut: Readonly<Record<string, number>>;
  readonly results: number;
  /** Of records and results, before compression. */
  readonly bytes: number;
  readonly sessions: number;
  /** Sessions that were open before the start, and of which nothing is captured yet: within a transaction, say. */
  readonly waiting: number;
  /** Sessions whose capture lacks something that a replay would need, by what. */
  readonly incomplete: Readonly<Record<string, number>>;
}

export interface ReplayJob extends JobFacts {
  readonly type: 'replay';
  readonly input: string;
  readonly username: string;
  readonly speed: number;
  readonly readOnly: boolean;
  readonly filters: ReplayFilters;
  readonly replayed: Replayed;
  /** Once its report is made. */
  readonly verdict?: 'PASS' | 'FAIL';
  readonly verdictLine?: string;
}

export type Replayed = Omit<ReplayProgress, 'share'>;

export type TrafficJob = CaptureJob | ReplayJob;

export const nothingCaptured: Captured = { commands: 0, leftOut: {}, results: 0, bytes: 0, sessions: 0, waiting: 0, incomplete: {} };
export const nothingReplayed: Replayed = { commands: 0, sent: 0, skipped: 0, failed: 0, different: 0, connections: 0, lagMs: 0, lastCommandAt: '' };

/** Who runs a job. */
export interface JobRunner {
  readonly id: string;
  readonly node: string;
  readonly incarnation: string;
}

export function newCaptureJob(runner: JobRunner, { startedAtMs, output, durationMs, compress, encryptMethod, layers }: CaptureWish): CaptureJob {
  const common = { ...runner, state: 'running', startedAtMs, progress: 0, error: '', notes: [] } as const;
  return { ...common, type: 'capture', output, durationMs, compress, encryptMethod, layers, captured: nothingCaptured, parts: {} };
}

export function newReplayJob(runner: JobRunner, { startedAtMs, input, username, speed, readOnly, filters }: ReplayWish): ReplayJob {
  const common = { ...runner, state: 'running', startedAtMs, progress: 0, error: '', notes: [] } as const;
  return { ...common, type: 'replay', input, username, speed, readOnly, filters, replayed: nothingReplayed };
}

/** As TiProxy shows a job, its fields in its order; then ours. Its `canceled` is whatever is not done. */
export function shownJob(job: TrafficJob): object {
  const { type, state, startedAtMs, endedAtMs, progress, error, id, node, notes } = job;
  return {
    type,
    status: state === 'failed' ? 'canceled' : state,
    start_time: goTimeText(startedAtMs),
    ...(endedAtMs !== undefined && { end_time: goTimeText(endedAtMs) }),
    progress: `${progress}%`,
    ...(error !== '' && { error }),
    ...(type === 'capture' ? shownCapture(job) : shownReplay(job)),
    id,
    state,
    node,
    ...(notes.length > 0 && { notes }),
    ...(type === 'capture'
      ? { ...job.captured, parts: job.parts, ...(job.encryptMethod !== '' && job.compress && { layers: job.layers }) }
      : { ...job.replayed, filters: job.filters, ...(job.verdict !== undefined && { verdict: job.verdict, verdictLine: job.verdictLine }) }),
  };
}

function shownCapture({ output, durationMs, compress, encryptMethod }: CaptureJob): object {
  return { output, duration: goDurationText(durationMs), ...(compress && { compress }), ...(encryptMethod !== '' && { 'encryption-method': encryptMethod }) };
}

function shownReplay({ input, username, speed, readOnly, replayed }: ReplayJob): object {
  return { ...(replayed.lastCommandAt !== '' && { last_cmd_ts: replayed.lastCommandAt }), input, username, speed, ...(readOnly && { readonly: true }) };
}
