import { WatchedDocument } from '@binnacle/cluster-state/watched-document';
import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';

/** A backend that an operator took out. */
export interface DrainedBackend {
  /** host:port */
  readonly id: string;
  readonly sinceMs: number;
}

/** More than anybody drains at once; the document stays small. */
const drainedMax = 1_000;

/** The backends drained by `POST /api/v1/backends/:id/drain`: kept in cluster state, so that it holds for every proxy node, and after a restart. */
@Injectable()
export class DrainedBackends {
  readonly #document: WatchedDocument<readonly DrainedBackend[]>;

  constructor(private readonly node: NodeContext) {
    this.#document = new WatchedDocument<readonly DrainedBackend[]>(node.state, node.clock, {
      key: 'proxy-drained-backends',
      initial: [],
      parse: parseDrained,
      onInvalid: (error) => node.log.error({ err: error }, 'the list of drained backends in cluster state is damaged; the last good one stays'),
    });
    node.addPart({ name: 'drained backends', start: () => this.#document.start(), stop: async () => this.#document.stop() });
  }

  all(): readonly DrainedBackend[] {
    return this.#document.value();
  }

  ids(): ReadonlySet<string> {
    return new Set(this.all().map(({ id }) => id));
  }

  onChange(listener: () => void): void {
    this.#document.onChange(listener);
  }

  /** Idempotent: the time it began stays. Throws LIMIT_EXCEEDED, or what cluster state throws. */
  async add(id: string): Promise<void> {
    await this.#document.update((drained) => {
      if (drained.some((backend) => backend.id === id)) return drained;
      if (drained.length >= drainedMax) throw new BinnacleError('LIMIT_EXCEEDED', `${drainedMax} backends are drained already`);
      return [...drained, { id, sinceMs: this.node.clock.nowMs() }];
    });
    this.node.log.info({ backend: id }, 'backend is drained: its sessions move away');
  }

  /** False when it was not drained. */
  async remove(id: string): Promise<boolean> {
    let found = false;
    await this.#document.update((drained) => {
      found = drained.some((backend) => backend.id === id);
      return drained.filter((backend) => backend.id !== id);
    });
    if (found) this.node.log.info({ backend: id }, 'backend takes sessions again');
    return found;
  }
}

function parseDrained(text: string): readonly DrainedBackend[] {
  const plain: unknown = JSON.parse(text);
  if (!Array.isArray(plain) || !plain.every(isDrained)) throw new Error('not a list of drained backends');
  return plain;
}

function isDrained(value: unknown): value is DrainedBackend {
  const { id, sinceMs } = (value ?? {}) as Partial<Record<keyof DrainedBackend, unknown>>;
  return typeof id === 'string' && typeof sinceMs === 'number';
}
