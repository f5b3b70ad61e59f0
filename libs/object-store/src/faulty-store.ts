import type {
  ByteRange, GetOptions, ListOptions, ObjectFacts, ObjectStore, OperationOptions, PutAnswer, PutOptions, StoredObject,
} from './object-store.js';
import { ObjectStoreUnavailable } from './object-store.js';

export type OperationKind = 'get' | 'getRange' | 'head' | 'put' | 'putFile' | 'delete' | 'list' | 'nowMs';

export interface Operation {
  readonly kind: OperationKind;
  /** '' for `nowMs`. */
  readonly key: string;
  /** 1 is the first of its kind. */
  readonly ofKind: number;
  /** 1 is the first of all. */
  readonly ofAll: number;
}

/** `before`: it fails and nothing happened. `after`: it happened, and its answer is lost. */
export type Fault = 'before' | 'after';

export interface FaultPlan {
  /** Asked once an operation. */
  fault?(operation: Operation): Fault | undefined;
  /** Share of operations that fail, 0 to 1; half of them before, half after they took effect. */
  readonly errorRate?: number;
  /** For `errorRate`: the same seed, the same faults in the same order of operations. */
  readonly seed?: number;
  /** Awaited before each operation: a delay by the clock of the test, a gate, or what kills the process. */
  before?(operation: Operation): Promise<void> | void;
  /** The same after it took effect, before its answer is given. */
  after?(operation: Operation): Promise<void> | void;
  /** What is read comes back as this: bytes cut off or flipped, say. */
  tear?(body: Buffer, operation: Operation): Buffer;
  /** Added to the store's clock: objects are as much older. */
  clockAheadMs?(): number;
}

/** A store that fails as planned, for tests. Its faults are `ObjectStoreUnavailable`, as after the retries of a real one. The plan may be replaced at any time. */
export class FaultyStore implements ObjectStore {
  readonly url: string;
  /** Every operation that was begun. */
  readonly operations: Operation[] = [];
  #random: () => number;
  #plan: FaultPlan;

  constructor(
    private readonly inner: ObjectStore,
    plan: FaultPlan = {},
  ) {
    this.url = inner.url;
    this.#plan = plan;
    this.#random = randomFrom(plan.seed ?? 1);
  }

  get plan(): FaultPlan {
    return this.#plan;
  }

  set plan(plan: FaultPlan) {
    this.#plan = plan;
    this.#random = randomFrom(plan.seed ?? 1);
  }

  async check(options?: OperationOptions): Promise<void> {
    await this.inner.check(options);
  }

  async get(key: string, options?: GetOptions): Promise<StoredObject | undefined> {
    return await this.#run('get', key, async (operation) => {
      const found = await this.inner.get(key, options);
      return found && { ...found, body: this.#plan.tear?.(found.body, operation) ?? found.body };
    });
  }

  async getRange(key: string, range: ByteRange, options?: OperationOptions): Promise<Buffer> {
    return await this.#run('getRange', key, async (operation) => {
      const body = await this.inner.getRange(key, range, options);
      return this.#plan.tear?.(body, operation) ?? body;
    });
  }

  async head(key: string, options?: OperationOptions): Promise<ObjectFacts | undefined> {
    return await this.#run('head', key, () => this.inner.head(key, options));
  }

  async put(key: string, body: Uint8Array, options?: PutOptions): Promise<PutAnswer> {
    return await this.#run('put', key, () => this.inner.put(key, body, options));
  }

  async putFile(key: string, path: string, options?: PutOptions): Promise<PutAnswer> {
    return await this.#run('putFile', key, () => this.inner.putFile(key, path, options));
  }

  async delete(key: string, options?: OperationOptions): Promise<void> {
    await this.#run('delete', key, () => this.inner.delete(key, options));
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectFacts> {
    // As one operation: it fails before its first object.
    await this.#run('list', prefix, async () => undefined);
    yield* this.inner.list(prefix, options);
  }

  async nowMs(): Promise<number> {
    return (await this.#run('nowMs', '', () => this.inner.nowMs())) + (this.#plan.clockAheadMs?.() ?? 0);
  }

  async close(): Promise<void> {
    await this.inner.close();
  }

  async #run<T>(kind: OperationKind, key: string, action: (operation: Operation) => Promise<T>): Promise<T> {
    const ofKind = this.operations.filter((each) => each.kind === kind).length + 1;
    const operation: Operation = { kind, key, ofKind, ofAll: this.operations.length + 1 };
    this.operations.push(operation);
    const plan = this.#plan;
    const draw = this.#random();
    const rate = plan.errorRate ?? 0;
    const fault = plan.fault?.(operation) ?? (draw < rate / 2 ? 'before' : draw < rate ? 'after' : undefined);
    await plan.before?.(operation);
    if (fault === 'before') throw new ObjectStoreUnavailable(`planned: ${kind} ${key} failed`);
    const result = await action(operation);
    await plan.after?.(operation);
    if (fault === 'after') throw new ObjectStoreUnavailable(`planned: the answer to ${kind} ${key} got lost`);
    return result;
  }
}

/** A plan in which the n-th operation of a kind fails. */
export function failNth(kind: OperationKind, n: number, fault: Fault): FaultPlan {
  return { fault: (operation) => (operation.kind === kind && operation.ofKind === n ? fault : undefined) };
}

/** 0 to 1, by mulberry32: enough for faults, and the same everywhere. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
