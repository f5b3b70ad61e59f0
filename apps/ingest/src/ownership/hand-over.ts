import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { constants, deflate } from 'node:zlib';
import { RawMessageWriter } from '../forwarding/raw-message-writer.js';
import type { Series } from '../series/series.js';
import type { SpoolPart } from '../spool/spool.js';
import type { Ownership } from './ownership.js';
import { laneOf } from './peers.js';

const deflated = promisify(deflate);

/** What one flush has for other nodes. */
export class HandOver {
  readonly #writers = new Map<string, RawMessageWriter>();
  #messages: readonly { readonly taker: string; readonly message: Buffer }[] = [];

  /** @param isLast this node leaves: what gauges it owns stand at goes to their heirs. What else it owns becomes rows here. */
  constructor(
    private readonly ownership: Ownership,
    private readonly isLast: boolean,
  ) {}

  readonly isOfAnother = (series: Series): boolean => this.#takerOf(series) !== this.ownership.ownId;

  readonly add = (series: Series): void => {
    const taker = this.#takerOf(series);
    const writer = this.#writers.get(taker) ?? new RawMessageWriter('binnacle');
    this.#writers.set(taker, writer);
    writer.add(series);
  };

  /** Once the flush is through, and again when they could not be kept. Each has a name of its own, by which the taker recognises it when it comes twice. */
  async *parts(): AsyncGenerator<SpoolPart> {
    for (const { taker, message } of this.#messages) yield { lane: laneOf(taker), name: randomUUID(), content: await deflated(message, { level: constants.Z_BEST_SPEED }) };
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0;
  }

  /** The flush is through. */
  end(): void {
    this.#messages = [...this.#writers].flatMap(([taker, writer]) => writer.take().map((message) => ({ taker, message })));
  }

  #takerOf(series: Series): string {
    const owner = this.ownership.ownerOf(series);
    if (!this.isLast || series.kind !== 'gauge' || owner !== this.ownership.ownId) return owner;
    return this.ownership.heirOf(series) ?? owner;
  }
}
