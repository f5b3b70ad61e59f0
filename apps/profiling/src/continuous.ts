import { Candidacy } from '@binnacle/cluster-state/candidacy';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { Cron } from '@nestjs/schedule';
import { Counter } from 'prom-client';
import { Captures } from './captures.js';
import { captureSeconds, frequencyHz, planRound } from './continuous-round.js';
import { KeptProfiles } from './kept-profiles.js';

export const continuousLease = 'continuous-profiling';
/** Another profiling node goes on within this, when the owner dies: one round is lost at the most. */
const leaseTtlMs = 15_000;
/** What still runs then is given up, so that no round meets the next. */
const roundMsMax = 59_000;

type Outcome = 'kept' | 'skipped' | 'failed';

/**
 * A short CPU profile of every node each minute, if `profiling.continuous` says so. Of several profiling nodes the owner of a lease does
 * it, and keeps what it captured.
 */
@Injectable()
export class ContinuousProfiling implements NodePart {
  readonly name = 'continuous profiling';
  readonly #profiles: Counter<'outcome'>;
  #candidacy: Candidacy | undefined;
  #round: Promise<void> | undefined;
  #abort = new AbortController();
  #after: string | undefined;
  #lastSkipped = '';

  constructor(
    private readonly node: NodeContext,
    private readonly captures: Captures,
    private readonly kept: KeptProfiles,
  ) {
    this.#profiles = new Counter({
      name: 'binnacle_continuous_profiles_total',
      help: 'Turns of nodes in continuous profiling, by outcome: kept, skipped or failed.',
      labelNames: ['outcome'],
      registers: [node.metrics],
    });
    node.addPart(this);
  }

  async join(): Promise<void> {
    if (!this.node.config.profiling.continuous) return;
    const { state, clock } = this.node;
    this.#candidacy = new Candidacy(state, clock, { lease: continuousLease, candidate: this.node.candidate(), ttlMs: leaseTtlMs });
    this.#candidacy.onChange((term) => {
      this.node.log.info({ lease: continuousLease, term }, term === undefined ? 'continuous profiling is left to others' : 'continuous profiling begins');
      // Whoever has the lease next begins a round of its own.
      if (term === undefined) this.#abort.abort();
    });
    this.node.candidacies.set(continuousLease, this.#candidacy);
    this.#candidacy.start();
  }

  async drain(): Promise<void> {
    this.#abort.abort();
    await Promise.all([this.#round, this.#candidacy?.stop()]);
  }

  /** Again, for a node whose start failed before it could drain. */
  async stop(): Promise<void> {
    await this.drain();
  }

  @Cron('0 * * * * *', { name: continuousLease })
  async everyMinute(): Promise<void> {
    // The round before ends by itself before this one begins; a clock that was set back is no reason for two at once.
    if (this.#candidacy?.isOwner() !== true || this.#round !== undefined) return;
    this.#round = this.#run().finally(() => (this.#round = undefined));
    await this.#round;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { clock, config, directory } = this.node;
    const abort = (this.#abort = new AbortController());
    const cancelDeadline = clock.after(roundMsMax, () => abort.abort());
    const plan = planRound(directory.all(), {
      nodesAtOnceMax: config.profiling.continuousNodesAtOnceMax,
      eventLoopDelayMsMax: config.health.eventLoopDelayMsMax,
      after: this.#after,
    });
    this.#after = plan.after;
    const skipped = [...plan.skipped];
    await Promise.all(
      plan.turns.map(async ({ node, delayMs }) => {
        const reason = await this.#turn(node, delayMs, abort.signal);
        if (reason !== undefined) skipped.push({ nodeId: node.id, reason });
      }),
    );
    cancelDeadline();
    this.#profiles.inc({ outcome: 'skipped' satisfies Outcome }, plan.skipped.length);
    this.#tellSkipped(skipped, plan.left);
  }

  /** Why there is no profile of the node, or undefined. */
  async #turn(node: NodeRecord, delayMs: number, signal: AbortSignal): Promise<string | undefined> {
    await this.#pause(delayMs, signal);
    if (signal.aborted) return 'the round was given up';
    let outcome: Outcome = 'failed';
    try {
      const captured = await this.captures.cpu(node.id, { seconds: captureSeconds, frequencyHz, whenBusy: 'give way' }, signal);
      await this.kept.keep(captured, 'continuous');
      outcome = 'kept';
      return undefined;
    } catch (error) {
      if (error instanceof BinnacleError && (error.code === 'ALREADY_PROFILING' || error.code === 'OVERLOADED')) outcome = 'skipped';
      return error instanceof Error ? error.message : String(error);
    } finally {
      this.#profiles.inc({ outcome });
    }
  }

  #pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.node.clock.after(ms, resolve);
      signal.addEventListener('abort', () => (cancel(), resolve()), { once: true });
    });
  }

  /** Only what is new: a node that is always busy is worth one line, not one a minute. */
  #tellSkipped(skipped: { nodeId: string; reason: string }[], left: number): void {
    skipped.sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
    const ids = skipped.map(({ nodeId }) => nodeId).join(' ');
    if (ids !== this.#lastSkipped) {
      this.node.log.info({ skipped: skipped.slice(0, 20), skippedCount: skipped.length, left }, 'continuous profiling: nodes without a profile in this round');
    }
    this.#lastSkipped = ids;
  }
}
