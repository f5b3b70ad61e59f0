import { mkdir, readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@binnacle/cluster-state/clock';
import type { Logger } from 'pino';
import { unfinished, writeWholeFile } from './whole-file.js';

export interface HeapDump {
  /** Absolute. */
  readonly path: string;
  readonly takenAtMs: number;
  readonly bytes: number;
}

export interface SeriesParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** A raw dump of the target's native heap. Rejects when there can be none now. */
  readonly capture: (targetId: string, signal: AbortSignal) => Promise<Buffer>;
  /** Sees to it that a dump of this size may be written. Rejects when it may not. */
  readonly makeRoom: (targetId: string, bytes: number) => Promise<void>;
}

interface SeriesState {
  readonly target: string;
  readonly intervalS: number;
  readonly activatedAtMs: number;
}

const stateFile = 'series.json';
/** Between the end of one dump and the next, where a dump takes longer than the interval. */
const pauseMsMin = 1_000;

/** The periodic dumps of one node: a folder with `000001.heap`, `000002.heap` ... and what is needed to go on after a restart. */
export class HeapDumpSeries {
  /** Oldest first. */
  #dumps: HeapDump[] = [];
  #lastNumber = 0;
  #abort = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #cancelNext = (): void => {};
  #whyPaused: string | undefined;

  private constructor(
    private readonly folder: string,
    private readonly state: SeriesState,
    private readonly parts: SeriesParts,
  ) {}

  get targetId(): string {
    return this.state.target;
  }

  /** Rejects with what the file system says. */
  static async create(folder: string, target: string, intervalS: number, parts: SeriesParts): Promise<HeapDumpSeries> {
    const state = { target, intervalS, activatedAtMs: parts.clock.nowMs() };
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeWholeFile(join(folder, stateFile), Buffer.from(JSON.stringify(state)));
    return new HeapDumpSeries(folder, state, parts);
  }

  /** What an earlier run of this process left; undefined where it left no whole series. */
  static async reopen(folder: string, parts: SeriesParts): Promise<HeapDumpSeries | undefined> {
    const state = await readState(folder);
    if (state === undefined) return undefined;
    const series = new HeapDumpSeries(folder, state, parts);
    for (const name of (await readdir(folder)).sort(byNumber)) {
      const path = join(folder, name);
      if (name.endsWith(unfinished)) await rm(path, { force: true });
      const number = numberOf(name);
      if (number === undefined) continue;
      const { mtimeMs, size } = await stat(path);
      series.#dumps.push({ path, takenAtMs: mtimeMs, bytes: size });
      series.#lastNumber = number;
    }
    return series;
  }

  /** Begins, or goes on as if there had been no restart. */
  start(): void {
    const { clock } = this.parts;
    const intervalMs = this.state.intervalS * 1_000;
    const lastMs = this.#dumps.at(-1)?.takenAtMs ?? this.state.activatedAtMs;
    this.#schedule(Math.min(intervalMs, lastMs + intervalMs - clock.nowMs()));
  }

  dumps(): readonly HeapDump[] {
    return this.#dumps;
  }

  async deleteOldest(): Promise<void> {
    const dump = this.#dumps.shift();
    if (dump !== undefined) await rm(dump.path, { force: true });
  }

  /** Ends it; the files stay for the next start. */
  async stop(): Promise<void> {
    this.#abort.abort();
    this.#cancelNext();
    await this.#running;
  }

  /** Ends it and deletes the folder. */
  async remove(): Promise<void> {
    await this.stop();
    await rm(this.folder, { recursive: true, force: true });
  }

  #schedule(delayMs: number): void {
    this.#cancelNext = this.parts.clock.after(Math.max(pauseMsMin, delayMs), () => {
      this.#running = this.#tick();
    });
  }

  /** Never rejects. */
  async #tick(): Promise<void> {
    const { clock, log } = this.parts;
    const beganMs = clock.monotonicMs();
    try {
      await this.#dump(this.#abort.signal);
      if (this.#whyPaused !== undefined) log.info({ target: this.targetId }, 'periodic heap dumps go on');
      this.#whyPaused = undefined;
    } catch (error) {
      if (!this.#abort.signal.aborted) this.#tellPause(error);
    }
    if (!this.#abort.signal.aborted) this.#schedule(this.state.intervalS * 1_000 - (clock.monotonicMs() - beganMs));
  }

  async #dump(signal: AbortSignal): Promise<void> {
    const bytes = await this.parts.capture(this.targetId, signal);
    await this.parts.makeRoom(this.targetId, bytes.length);
    if (signal.aborted) return;
    const path = join(this.folder, `${String(this.#lastNumber + 1).padStart(6, '0')}.heap`);
    await writeWholeFile(path, bytes);
    this.#lastNumber += 1;
    const takenAtMs = this.parts.clock.nowMs();
    this.#dumps.push({ path, takenAtMs, bytes: bytes.length });
    // What a restart finds out from the file is then what is known now.
    await utimes(path, takenAtMs / 1_000, takenAtMs / 1_000);
  }

  /** Once for each reason: the next dump is tried after the interval all the same, and goes well once the node is back, or active again. */
  #tellPause(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if (reason === this.#whyPaused) return;
    this.#whyPaused = reason;
    this.parts.log.warn({ target: this.targetId, reason }, 'periodic heap dumps pause');
  }
}

async function readState(folder: string): Promise<SeriesState | undefined> {
  try {
    const state = JSON.parse(await readFile(join(folder, stateFile), 'utf8')) as SeriesState;
    return typeof state.target === 'string' && Number.isInteger(state.intervalS) && state.intervalS > 0 ? state : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function numberOf(name: string): number | undefined {
  const digits = /^(\d{6,12})\.heap$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function byNumber(a: string, b: string): number {
  return (numberOf(a) ?? 0) - (numberOf(b) ?? 0);
}
