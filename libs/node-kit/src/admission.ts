import { createHmac, randomUUID } from 'node:crypto';
import type { Clock } from '@binnacle/cluster-state/clock';
import { ClusterStateUnavailable, type ClusterState } from '@binnacle/cluster-state/cluster-state';
import type { Logger } from 'pino';
import { ConfigError } from './config-error.js';

const documentKey = 'cluster-secret-check';
/** Whoever finds the document changed by others this often in a row is among nodes of several secrets. */
const attemptsMax = 4;
const retryMs = 1_000;

const refusal =
  'the cluster secret of this node is not the one of the cluster: set node.cluster-secret (BINNACLE_NODE_CLUSTER_SECRET, or ' +
  'BINNACLE_NODE_CLUSTER_SECRET_FILE) to the one of the nodes that run; to change the secret, stop them all first';

const overtaken =
  'the cluster secret was changed while this node ran: give it the new one (node.cluster-secret, BINNACLE_NODE_CLUSTER_SECRET) and start it anew';

export interface AdmissionOptions {
  readonly state: ClusterState;
  readonly clock: Clock;
  readonly log: Logger;
  readonly clusterSecret: string;
  /** With another secret than the last: how long nobody else may be registered before it counts. Milliseconds. */
  readonly quietMs: number;
}

/**
 * Whether this node may take part: cluster state holds a check value of the cluster's secret, which says nothing of the secret itself,
 * and a node with another one would take traffic and leases and be refused by all others. The first node writes it.
 *
 * A new secret is accepted once nobody is registered, looked at twice: after Redis was away the registry is empty for a moment, and a
 * node with a wrong secret must not be the one that uses it.
 */
export class Admission {
  readonly #value: string;
  #status: 'pending' | 'admitted' | 'refused' = 'pending';
  #cancelTimer: () => void = () => {};
  #unsubscribe: () => void = () => {};
  #asking = false;
  #stopped = false;

  constructor(private readonly options: AdmissionOptions) {
    this.#value = createHmac('sha256', options.clusterSecret).update('binnacle cluster secret check').digest('hex');
    // Nobody shares embedded state.
    if (options.state.kind === 'embedded') this.#status = 'admitted';
  }

  admitted(): boolean {
    return this.#status === 'admitted';
  }

  /** Why this node takes no part, in words for a person; empty when it does. */
  obstacle(): string {
    if (this.#status === 'refused') return refusal;
    return this.#status === 'pending' ? 'the cluster secret is not compared yet' : '';
  }

  /** Asks now; nothing happens while cluster state is away. Throws `ConfigError` when the cluster has another secret. */
  async ask(): Promise<void> {
    if (this.#status === 'pending') this.#status = await this.#agree();
    if (this.#status === 'refused') throw new ConfigError([refusal]);
  }

  /**
   * Asks whenever cluster state comes back, and calls back once this node is admitted. Goes on afterwards: a store that lost its memory
   * must hear of the secret again from those who have it.
   */
  follow(onAdmitted: () => void): void {
    if (this.options.state.kind === 'embedded') return;
    this.#unsubscribe = this.options.state.onAvailabilityChange(({ available }) => available && void this.#askAgain(onAdmitted));
    if (this.#status === 'pending') void this.#askAgain(onAdmitted);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelTimer();
    this.#unsubscribe();
  }

  async #askAgain(onAdmitted: () => void): Promise<void> {
    if (this.#asking || this.#stopped || this.#status === 'refused') return;
    this.#asking = true;
    this.#cancelTimer();
    const before = this.#status;
    const answer = await this.#agree();
    this.#asking = false;
    if (this.#stopped) return;
    if (answer === 'pending') this.#cancelTimer = this.options.clock.after(retryMs, () => void this.#askAgain(onAdmitted));
    else if (before === 'pending') this.#status = answer;
    if (answer === 'refused') this.options.log.error(before === 'pending' ? refusal : overtaken);
    else if (answer === 'admitted' && before === 'pending') onAdmitted();
  }

  /** Pending: cluster state is away. */
  async #agree(): Promise<'pending' | 'admitted' | 'refused'> {
    const { state, log } = this.options;
    try {
      for (let attempt = 0; attempt < attemptsMax; attempt++) {
        const { document } = await state.readDocument(documentKey);
        if (document?.value === this.#value) return 'admitted';
        if (document !== undefined && !(await this.#isAlone())) return 'refused';
        const expectedVersion = document?.version ?? 0;
        const { written } = await state.writeDocument({ key: documentKey, value: this.#value, expectedVersion, requestId: randomUUID() });
        if (written && document !== undefined) log.warn('the cluster has a new secret: the one of this node');
        if (written) return 'admitted';
      }
      return 'refused';
    } catch (error) {
      if (error instanceof ClusterStateUnavailable) return 'pending';
      throw error;
    }
  }

  async #isAlone(): Promise<boolean> {
    const { state, clock, log, quietMs } = this.options;
    if (this.#status === 'admitted' || (await state.nodes()).length > 0) return false;
    log.warn(`the cluster had another secret, and no node is registered: if that is so in ${quietMs} ms too, the secret of this node counts`);
    await new Promise<void>((resolve) => (this.#cancelTimer = clock.after(quietMs, resolve)));
    return (await state.nodes()).length === 0;
  }
}
