/** The states of a node as `/tiflash/store-status` names them. */
export type StoreStatus = 'Idle' | 'Ready' | 'Running' | 'Stopping' | 'Terminated';

const next: Readonly<Record<StoreStatus, readonly StoreStatus[]>> = {
  Idle: ['Ready', 'Stopping'],
  Ready: ['Running', 'Stopping'],
  Running: ['Stopping'],
  Stopping: ['Terminated'],
  Terminated: [],
};

/** Idle (being put together) → Ready (listening) → Running (registered) → Stopping (draining) → Terminated. */
export class Lifecycle {
  #status: StoreStatus = 'Idle';
  readonly #listeners = new Set<(status: StoreStatus) => void>();

  status(): StoreStatus {
    return this.#status;
  }

  /** Throws on a step that the state machine does not have. */
  moveTo(status: StoreStatus): void {
    if (!next[this.#status].includes(status)) throw new Error(`a node cannot go from ${this.#status} to ${status}`);
    this.#status = status;
    for (const listener of this.#listeners) listener(status);
  }

  onChange(listener: (status: StoreStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
