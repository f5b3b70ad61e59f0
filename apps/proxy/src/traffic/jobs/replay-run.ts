import { BinnacleError } from '@binnacle/contracts/errors';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import type { ReplayOrder, ReplayProgress } from '../replay/replay-order.js';
import type { TrafficReport } from '../report/traffic-report.js';
import { defaultThresholds, judge, verdictLine } from '../report/verdict.js';
import type { ReplayWish } from './replay-form.js';
import { ReplayProcess } from './replay-process.js';
import { sqlTarget } from './sql-target.js';
import type { ReplayJob } from './traffic-job.js';
import { storeSettings, trafficPlace, trafficRoots } from './traffic-place.js';

/** One replay to this node's own SQL port, in a child process. */
export class ReplayRun {
  /** Settles with how it ended. */
  readonly ended: Promise<ReplayJob>;
  #canceled = '';
  #process: ReplayProcess | undefined;
  #finish: (job: ReplayJob) => void = () => {};

  constructor(
    private readonly node: NodeContext,
    private readonly wish: ReplayWish,
    private job: ReplayJob,
    private readonly changed: (job: ReplayJob) => void,
    private readonly keep: (report: TrafficReport) => Promise<void>,
  ) {
    this.ended = new Promise((resolve) => (this.#finish = resolve));
  }

  get current(): ReplayJob {
    return this.job;
  }

  get isEnding(): boolean {
    return this.#canceled !== '';
  }

  /** Resolves when the process was started. Rejects with BAD_REQUEST on an input that may not be read, NOT_READY without an open SQL port. */
  async start(sqlAddress: string | undefined, needsTls: boolean): Promise<void> {
    const order = await this.#order(sqlAddress, needsTls);
    if (this.#canceled !== '') throw new BinnacleError('CONFLICT', this.#canceled);
    this.#process = new ReplayProcess(order, this.node.clock, {
      progress: (progress) => this.#progressed(progress),
      warning: (text) => (this.job = { ...this.job, notes: [...this.job.notes, text] }),
    });
    void this.#follow(this.#process);
  }

  /** It could not begin. */
  abandon(error: string): void {
    const isCanceled = this.#canceled !== '';
    this.#finish({ ...this.job, state: isCanceled ? 'canceled' : 'failed', error: isCanceled ? this.#canceled : error, endedAtMs: this.node.clock.nowMs() });
  }

  /** What was sent is waited for, and there is a report of it. Resolves, and never rejects, when it has ended. */
  async cancel(reason: string, isGraceful = true): Promise<void> {
    this.#canceled ||= reason;
    if (this.#process === undefined) return;
    if (isGraceful) this.#process.cancel(reason);
    else this.#process.kill(reason);
    await this.ended;
  }

  async #order(sqlAddress: string | undefined, needsTls: boolean): Promise<ReplayOrder> {
    const { config } = this.node;
    const { username, password, speed, readOnly, ignoreErrors, after, before, filters, explain } = this.wish;
    const input = await trafficPlace('input', this.wish.input, trafficRoots(config.dataDir, config.proxy.trafficRoots));
    const target = sqlTarget(sqlAddress, needsTls);
    if (target === undefined) throw new BinnacleError('NOT_READY', `the SQL port of proxy node ${this.node.id} is not open`);
    return {
      input,
      store: storeSettings(config.remote),
      keyFile: config.security.encryptionKeyPath,
      target,
      username,
      password,
      speed,
      readOnly,
      ignoreErrors,
      filters,
      ...(after !== undefined && { after }),
      ...(before !== undefined && { before }),
      ...(explain !== undefined && { explain }),
    };
  }

  #progressed({ share, ...replayed }: ReplayProgress): void {
    this.job = { ...this.job, replayed, progress: Math.max(0, Math.min(99, Math.floor((Number.isFinite(share) ? share : 0) * 100))) };
    this.changed(this.job);
  }

  async #follow(process: ReplayProcess): Promise<void> {
    try {
      const facts = await process.facts;
      const report = judge(facts, { ...defaultThresholds, ...this.wish.thresholds });
      await this.keep(report);
      const outcome = this.#canceled === '' ? ({ state: 'done', error: '', progress: 100 } as const) : ({ state: 'canceled', error: this.#canceled } as const);
      this.job = { ...this.job, ...outcome, verdict: report.verdict, verdictLine: verdictLine(report) };
    } catch (error) {
      this.node.log.warn({ err: error, job: this.job.id }, 'a replay failed');
      const canceled = this.#canceled !== '';
      this.job = { ...this.job, state: canceled ? 'canceled' : 'failed', error: canceled ? this.#canceled : (error as Error).message };
    }
    this.job = { ...this.job, endedAtMs: this.node.clock.nowMs() };
    this.#finish(this.job);
  }
}
