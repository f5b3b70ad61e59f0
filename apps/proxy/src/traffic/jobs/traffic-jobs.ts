import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import { HeldLease } from '@binnacle/node-kit/held-lease';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { ProxyPeers } from '../../process/proxy-peers.js';
import { SqlProxy } from '../../process/sql-proxy.js';
import { ProxySettings } from '../../settings/proxy-settings.js';
import { readReport } from '../report/report-file.js';
import type { TrafficReport } from '../report/traffic-report.js';
import type { CaptureWish } from './capture-form.js';
import { CaptureRun } from './capture-run.js';
import { JobList, trafficLease } from './job-list.js';
import { KeptReports } from './kept-reports.js';
import { NodeCapture, stopDeadlineMs } from './node-capture.js';
import type { ReplayWish } from './replay-form.js';
import { ReplayRun } from './replay-run.js';
import { type JobRunner, newCaptureJob, newReplayJob, shownJob, type TrafficJob } from './traffic-job.js';
import { TrafficMetrics } from './traffic-metrics.js';

/** How often the list in cluster state hears of a job that runs; whoever asks hears it from its runner. */
const saveEveryMs = 5_000;
/** After the death of a node that runs a job, another one can begin this much later. */
const leaseTtlMs = 10_000;
/** A cancel asks the runner, which answers when the job has ended; the gateway waits for 120 s. */
const cancelTimeoutMs = stopDeadlineMs + 10_000;

interface Running {
  readonly lease: HeldLease;
  readonly run: CaptureRun | ReplayRun;
  /** Settles when the list has its end and the lease is free. */
  readonly over: Promise<TrafficJob>;
}

/** Captures and replays: one at a time over all proxy nodes. Whoever is asked to begin one runs it. */
@Injectable()
export class TrafficJobs {
  readonly capture: NodeCapture;
  readonly #list: JobList;
  readonly #reports: KeptReports;
  readonly #metrics: TrafficMetrics;
  #running: Running | undefined;
  #isStarting = false;
  #isStopping = false;
  #savedAtMs = 0;

  constructor(
    private readonly node: NodeContext,
    private readonly peers: ProxyPeers,
    private readonly proxy: SqlProxy,
    private readonly settings: ProxySettings,
  ) {
    this.capture = new NodeCapture(node, () => proxy.workers, () => settings.current.security.requireClientTls);
    this.#list = new JobList(node);
    this.#reports = new KeptReports(join(node.config.dataDir, 'traffic-reports'));
    this.#metrics = new TrafficMetrics(node.metrics, () => this.#running?.run.current);
    node.addPart({
      name: 'traffic jobs',
      start: () => this.#list.start(),
      // What this node's earlier start left behind is told at once and not only when somebody asks.
      join: async () => void (await this.#list.settled().catch((error: unknown) => node.log.warn({ err: error }, 'the list of traffic jobs could not be read'))),
      drain: () => this.#drain(),
      drainMsMax: () => (this.#running === undefined && !this.capture.isUnderWay ? 0 : stopDeadlineMs),
      stop: async () => this.#list.stop(),
    });
  }

  /** Throws BAD_REQUEST when capture and replay are switched off. */
  checkEnabled(what: string): void {
    if (!this.settings.current.proxy.enableTrafficReplay) throw new BinnacleError('BAD_REQUEST', `traffic ${what} is disabled`);
  }

  /** Begins on all proxy nodes. Throws CONFLICT, with the job that runs, and BAD_REQUEST on what a node cannot do. */
  startCapture(wish: CaptureWish): Promise<TrafficJob> {
    return this.#start('capture', (runner) => {
      const run = new CaptureRun({ node: this.node, peers: this.peers, own: this.capture }, wish, newCaptureJob(runner, wish), (job) => this.#changed(job));
      return { run, begin: () => run.start(), lost: () => void run.end({ state: 'failed', reason: leaseLost }) };
    });
  }

  startReplay(wish: ReplayWish): Promise<TrafficJob> {
    return this.#start('replay', (runner) => {
      const run = new ReplayRun(this.node, wish, newReplayJob(runner, wish), (job) => this.#changed(job), (report) => this.#reports.keep(runner.id, report));
      const { requireClientTls } = this.settings.current.security;
      return { run, begin: () => run.start(this.proxy.workers.addresses[0], requireClientTls), lost: () => void run.cancel(leaseLost, false) };
    });
  }

  /** Oldest first. */
  async show(): Promise<readonly TrafficJob[]> {
    const jobs = await this.#list.settled();
    return Promise.all(jobs.map((job) => (job.state === 'running' ? this.#asOfNow(job) : job)));
  }

  /** Ends the job that runs, when it is of one of these types, and answers with it as it ended; `none`, `other type` when there is nothing to end. */
  async cancel(types: readonly TrafficJob['type'][]): Promise<TrafficJob | 'none' | 'other type'> {
    const job = (await this.show()).find(({ state }) => state === 'running');
    if (job === undefined) return 'none';
    if (!types.includes(job.type)) return 'other type';
    if (job.node === this.node.id) return (await this.cancelOwn(job.id)) ?? 'none';
    const answer = await this.peers.ask<{ job?: TrafficJob }>(this.peers.named(job.node), 'POST', `traffic/cancel?job=${job.id}`, { body: {}, timeoutMs: cancelTimeoutMs });
    return answer?.job ?? 'none';
  }

  /** Undefined: this node does not run it. */
  async cancelOwn(id: string, reason = 'manually stopped'): Promise<TrafficJob | undefined> {
    const running = this.#running;
    if (running === undefined || running.run.current.id !== id) return undefined;
    await (running.run instanceof CaptureRun ? running.run.end({ state: 'canceled', reason }) : running.run.cancel(reason));
    return running.over;
  }

  /** Whether the job this node runs was told to end. */
  get isEnding(): boolean {
    return this.#running?.run.isEnding ?? false;
  }

  /** The job this node runs now, when it is that one. */
  ownJob(id: string): TrafficJob | undefined {
    const job = this.#running?.run.current;
    return job?.id === id ? job : undefined;
  }

  /** Another node shuts down that had a part in the capture this one runs. */
  partLeft(job: string, node: string, progress: Parameters<CaptureRun['left']>[1]): void {
    const run = this.#running?.run;
    if (run instanceof CaptureRun && run.current.id === job) run.left(node, progress);
  }

  /** Of the named replay, or of the last one that has a report. Throws NOT_FOUND. */
  async report(id: string | undefined): Promise<TrafficReport> {
    const jobs = await this.#list.settled();
    const job = jobs.findLast((each) => (id === undefined ? each.type === 'replay' && each.verdict !== undefined : each.id === id));
    if (job === undefined) throw new BinnacleError('NOT_FOUND', id === undefined ? 'no replay has a report yet' : `there is no job ${JSON.stringify(id.slice(0, 64))}`);
    if (job.type !== 'replay') throw new BinnacleError('NOT_FOUND', `${job.id} is a capture: only replays have reports`);
    if (job.state === 'running') throw new BinnacleError('NOT_FOUND', `${job.id} still runs: its report is made at its end`);
    const report = job.node === this.node.id ? await this.#reports.get(job.id) : await this.#reportOfPeer(job);
    if (report === undefined) throw new BinnacleError('NOT_FOUND', `there is no report of ${job.id}${job.error === '' ? '' : `: ${job.error}`}`);
    return report;
  }

  ownReport(id: string): Promise<TrafficReport | undefined> {
    return this.#reports.get(id);
  }

  async #reportOfPeer({ id, node }: TrafficJob): Promise<TrafficReport | undefined> {
    const report = await this.peers.ask<object>(this.peers.named(node), 'GET', `traffic/reports/${id}`, { timeoutMs: 20_000 });
    return report === undefined ? undefined : readReport(JSON.stringify(report));
  }

  async #start(type: TrafficJob['type'], make: (runner: JobRunner) => { run: Running['run']; begin: () => Promise<void>; lost: () => void }): Promise<TrafficJob> {
    if (this.#isStopping) throw new BinnacleError('NOT_READY', `proxy node ${this.node.id} shuts down`);
    if (this.#running !== undefined || this.#isStarting) throw await this.#busy(this.node.id);
    this.#isStarting = true;
    try {
      let isLost = false;
      let lost = (): void => void (isLost = true);
      const lease = await HeldLease.take(this.node, trafficLease, leaseTtlMs, () => lost());
      if (!(lease instanceof HeldLease)) throw await this.#busy(lease.owner ?? 'another proxy node');
      try {
        await this.#list.settled();
        const made = make({ id: newJobId(type, this.node.clock.nowMs()), node: this.node.id, incarnation: this.node.incarnation });
        if (isLost) throw new BinnacleError('CLUSTER_STATE_UNAVAILABLE', leaseLost);
        lost = made.lost;
        return await this.#begin(lease, made.run, made.begin);
      } catch (error) {
        await lease.release();
        throw error;
      }
    } finally {
      this.#isStarting = false;
    }
  }

  /** It is in the list before its parts begin, so that it can be seen and ended from then on. One that cannot begin is in no list afterwards. */
  async #begin(lease: HeldLease, run: Running['run'], begin: () => Promise<void>): Promise<TrafficJob> {
    const { id, type } = run.current;
    let hasBegun = false;
    this.#running = { lease, run, over: run.ended.then((ended) => this.#end(lease, ended, hasBegun)) };
    const { over } = this.#running;
    this.#savedAtMs = this.node.clock.monotonicMs();
    try {
      await this.#list.put(run.current);
      await begin();
      hasBegun = true;
    } catch (error) {
      run.abandon((error as Error).message);
      await over;
      throw error;
    }
    this.#metrics.began(type);
    this.node.log.info({ job: id, type }, `a traffic ${type} begins`);
    return run.current;
  }

  async #end(lease: HeldLease, job: TrafficJob, hasBegun: boolean): Promise<TrafficJob> {
    if (hasBegun) {
      this.#metrics.ended(job);
      this.node.log[job.state === 'failed' ? 'warn' : 'info']({ job: job.id, state: job.state, reason: job.error }, `a traffic ${job.type} ended`);
    }
    await this.#saved(job, hasBegun ? this.#list.put(job) : this.#list.remove(job.id));
    await lease.release();
    this.#running = undefined;
    return job;
  }

  #changed(job: TrafficJob): void {
    const nowMs = this.node.clock.monotonicMs();
    if (nowMs - this.#savedAtMs < saveEveryMs || this.#running?.run.current.id !== job.id) return;
    this.#savedAtMs = nowMs;
    void this.#saved(job, this.#list.put(job));
  }

  /** While the cluster state is away the list has what it had; a job that is not ended there is told as failed once somebody looks. Never rejects. */
  async #saved({ id }: TrafficJob, saving: Promise<void>): Promise<void> {
    await saving.catch((error: unknown) => this.node.log.warn({ err: error, job: id }, 'a traffic job could not be written to cluster state'));
  }

  async #asOfNow(job: TrafficJob): Promise<TrafficJob> {
    if (job.node === this.node.id) return this.ownJob(job.id) ?? job;
    try {
      return (await this.peers.ask<TrafficJob>(this.peers.named(job.node), 'GET', `traffic/jobs/${job.id}`)) ?? job;
    } catch {
      return job;
    }
  }

  async #busy(owner: string): Promise<BinnacleError> {
    const job = (await this.show()).find(({ state }) => state === 'running');
    return new BinnacleError('CONFLICT', job === undefined ? `a job is running: proxy node ${owner} begins or ends one` : `a job is running: ${JSON.stringify(shownJob(job))}`, { retryAfterS: 10 });
  }

  /** The job this node runs ends with it; its part in the job of another one is complete until now. */
  async #drain(): Promise<void> {
    this.#isStopping = true;
    const job = this.#running?.run.current;
    if (job !== undefined) await this.cancelOwn(job.id, 'shutting down');
    const left = await this.capture.leave();
    if (left === undefined) return;
    const { order, progress } = left;
    try {
      await this.peers.ask(this.peers.named(order.runner), 'POST', `traffic/capture/left?job=${order.job}&node=${this.node.id}`, { body: progress });
    } catch (error) {
      this.node.log.warn({ err: error, job: order.job }, 'the proxy node that runs a capture could not be told that this one leaves it');
    }
  }
}

const leaseLost = 'the cluster state did not answer for so long that another job may have begun';

/** `capture-20261121T090507Z-1a2b3c4d`: in order of time by name. */
export function newJobId(type: TrafficJob['type'], nowMs: number): string {
  const time = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, '');
  return `${type}-${time}-${randomBytes(4).toString('hex')}`;
}
