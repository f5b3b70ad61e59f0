import type { Clock } from '@binnacle/cluster-state/clock';

export interface CheckResult {
  readonly name: string;
  readonly ok: boolean;
  /** What was found, or why it failed, for a person. */
  readonly detail: string;
}

export interface CachedCheckOptions {
  readonly clock: Clock;
  /** A check that has not answered by then has failed; its signal is aborted. */
  readonly deadlineMs: number;
  /** From the end of a run on its result counts for this long. */
  readonly cacheMs: number;
}

/** A health check that may be asked as often as anybody likes: concurrent callers share one run, and its result is kept for a while. */
export class CachedCheck {
  #running: Promise<CheckResult> | undefined;
  #last: { result: CheckResult; untilMs: number } | undefined;

  /** `check` resolves with a detail when all is well, rejects when not. */
  constructor(
    readonly name: string,
    private readonly check: (signal: AbortSignal) => Promise<string>,
    private readonly options: CachedCheckOptions,
  ) {}

  /** Never rejects. */
  run(): Promise<CheckResult> {
    if (this.#last && this.options.clock.monotonicMs() < this.#last.untilMs) return Promise.resolve(this.#last.result);
    this.#running ??= this.#execute().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #execute(): Promise<CheckResult> {
    const { clock, deadlineMs, cacheMs } = this.options;
    const abort = new AbortController();
    let cancelDeadline = (): void => {};
    const deadline = new Promise<never>((_, reject) => {
      cancelDeadline = clock.after(deadlineMs, () => {
        const late = new Error(`no answer within ${deadlineMs} ms`);
        reject(late);
        abort.abort(late);
      });
    });
    let result: CheckResult;
    try {
      const started = (async () => this.check(abort.signal))();
      result = { name: this.name, ok: true, detail: await Promise.race([started, deadline]) };
    } catch (error) {
      result = { name: this.name, ok: false, detail: error instanceof Error ? error.message : String(error) };
    } finally {
      cancelDeadline();
    }
    this.#last = { result, untilMs: clock.monotonicMs() + cacheMs };
    return result;
  }
}

/** The answer of `/healthcheck` and `/deepcheck` as gostatsd gives it; 200 when nothing failed, else 500. */
export async function runChecks(checks: readonly CachedCheck[]): Promise<{ status: 200 | 500; body: { ok: string[]; failed: string[] } }> {
  const results = await Promise.all(checks.map((check) => check.run()));
  const lines = (ok: boolean): string[] => results.filter((result) => result.ok === ok).map((result) => `${result.name}: ${result.detail}`);
  const body = { ok: lines(true), failed: lines(false) };
  return { status: body.failed.length === 0 ? 200 : 500, body };
}
