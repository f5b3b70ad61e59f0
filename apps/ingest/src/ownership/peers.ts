import type { Clock } from '@binnacle/cluster-state/clock';
import type { ClusterState, NodeRecord } from '@binnacle/cluster-state/cluster-state';
import type { NodeDirectory } from '@binnacle/cluster-state/node-directory';
import { addressOf } from '@binnacle/cluster-state/node-record';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import type { Logger } from 'pino';
import { Agent } from 'undici';
import { BadMessage } from '../messages/bad-message.js';
import type { JournalRecord } from '../spool/journal-record.js';
import type { Spool, SpoolPart } from '../spool/spool.js';
import { SpoolDrain } from '../spool/spool-drain.js';

export interface PeersOptions {
  readonly spool: Spool;
  readonly directory: NodeDirectory;
  readonly state: Pick<ClusterState, 'availability'>;
  readonly clusterSecret: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long a node that the registry has let go may take to come back. */
  readonly graceMs: number;
  /** Takes a part in as if it had been sent here. */
  readonly takeBack: (record: JournalRecord) => Promise<void>;
}

/** Where nodes take what others hand over. */
export const handOverPath = '/agent/v1/ingest';
const lanePrefix = 'peer-';
const sendTimeoutMs = 10_000;
const retryMsMax = 5_000;

export function laneOf(nodeId: string): string {
  return lanePrefix + nodeId;
}

/**
 * Sends what other nodes add up to them: for each a lane of the spool. One that is away is waited for; once the registry has been without it for longer
 * than the grace, what was to go there is taken in here again, and goes with the next flush to who owns it now.
 */
export class Peers {
  readonly #agent = new Agent({ connections: 1, connect: { timeout: 2_000 }, headersTimeout: sendTimeoutMs, bodyTimeout: sendTimeoutMs });
  readonly #drains = new Map<string, SpoolDrain>();
  /** Since when the registry is without a node, on the monotonic clock. */
  readonly #awaySinceMs = new Map<string, number>();
  messagesSent = 0;
  messagesTakenBack = 0;
  /** Messages that could not be read where they went: they would be refused again. */
  messagesRefused = 0;

  constructor(private readonly options: PeersOptions) {}

  /** There may be something new in the lanes. */
  wake(): void {
    for (const drain of this.#wakened()) drain.wake();
  }

  /** Resolves when every lane is empty or its node cannot be reached. */
  async attempt(): Promise<void> {
    await Promise.all(this.#wakened().map((drain) => drain.attempt()));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#drains.values()].map((drain) => drain.stop()));
    await this.#agent.destroy();
  }

  failures(): string[] {
    return [...this.#drains].flatMap(([nodeId, { failure }]) => (failure === undefined ? [] : [`${nodeId}: ${failure}`]));
  }

  #wakened(): SpoolDrain[] {
    const nodeIds = this.options.spool.lanes().filter((lane) => lane.startsWith(lanePrefix)).map((lane) => lane.slice(lanePrefix.length));
    for (const nodeId of nodeIds) this.#find(nodeId);
    return nodeIds.map((nodeId) => this.#drainOf(nodeId));
  }

  #drainOf(nodeId: string): SpoolDrain {
    const { spool, clock, log } = this.options;
    const known = this.#drains.get(nodeId);
    if (known !== undefined) return known;
    const drain = new SpoolDrain({ spool, lane: laneOf(nodeId), clock, log, where: `ingest node ${nodeId}`, retryMsMax, send: (part, signal) => this.#hand(nodeId, part, signal) });
    this.#drains.set(nodeId, drain);
    return drain;
  }

  /** The node, and how long it has been away. While cluster state is away itself nobody is: the registry shows who was there last, or nobody yet. */
  #find(nodeId: string): { readonly node: NodeRecord | undefined; readonly awayMs: number } {
    const { directory, state, clock } = this.options;
    const node = directory.byRole('ingest').find(({ id }) => id === nodeId);
    if (node !== undefined || !state.availability().available) {
      this.#awaySinceMs.delete(nodeId);
      return { node, awayMs: 0 };
    }
    const sinceMs = this.#awaySinceMs.get(nodeId) ?? clock.monotonicMs();
    this.#awaySinceMs.set(nodeId, sinceMs);
    return { node, awayMs: clock.monotonicMs() - sinceMs };
  }

  async #hand(nodeId: string, part: SpoolPart, stopped: AbortSignal): Promise<void> {
    const { node, awayMs } = this.#find(nodeId);
    if (node !== undefined) return this.#send(node, part, stopped);
    if (awayMs <= this.options.graceMs) throw new Error('the registry does not know it');
    // Under its own key: should this process end before the part is gone from the lane, it is not counted again.
    try {
      await this.options.takeBack({ kind: 'handed', encoding: 'deflate', idempotencyKey: part.name, body: part.content });
      this.messagesTakenBack += 1;
    } catch (error) {
      if (!(error instanceof BadMessage)) throw error;
      this.#drop(nodeId);
    }
  }

  async #send(node: NodeRecord, { name, content }: SpoolPart, stopped: AbortSignal): Promise<void> {
    const headers = { [clusterSecretHeader]: this.options.clusterSecret, 'content-encoding': 'deflate', 'content-type': 'application/x-protobuf', 'idempotency-key': name };
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(sendTimeoutMs)]);
    const answer = await this.#agent.request({ origin: `http://${addressOf(node)}`, path: handOverPath, method: 'POST', headers, body: content, signal });
    await answer.body.dump();
    if (answer.statusCode === 202) this.messagesSent += 1;
    else if (answer.statusCode === 400) this.#drop(node.id);
    else throw new Error(`it answered ${answer.statusCode}`);
  }

  #drop(nodeId: string): void {
    this.messagesRefused += 1;
    this.options.log.error({ nodeId }, 'an ingest node cannot read what another one hands over; it is dropped');
  }
}
