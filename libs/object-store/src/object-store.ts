/**
 * Objects by key in a bucket or a folder: what the remote tier keeps its files in. Keys are relative to the store's own prefix: segments of
 * letters, digits and `. _ = -` that do not begin with a dot, joined by `/`, 900 characters at most. No key may be the folder of another.
 * An etag changes whenever the content does.
 *
 * Every operation has a deadline, is retried where that is safe, can be cancelled, and rejects with `ObjectStoreUnavailable` when the store
 * did not answer; whether a write took effect is then unknown. `object-store.contract.ts` says what every kind must do.
 */
export interface ObjectStore {
  /** For logs and answers: without credentials. */
  readonly url: string;

  /**
   * Asks whether the store can be used at all: rejects with `ObjectStoreUnusable` when it denies access, has no such bucket, or ignores
   * conditions. Conditional writes to a store that was never checked check it first.
   */
  check(options?: OperationOptions): Promise<void>;
  /** The whole object. Undefined: there is none. For small objects: it is in memory. */
  get(key: string, options?: GetOptions): Promise<StoredObject | undefined>;
  /** Bytes `offset` to `offset + length` (exclusive) of it. Rejects with `ObjectNotFound`, and with `ObjectChanged` when it is shorter. */
  getRange(key: string, range: ByteRange, options?: OperationOptions): Promise<Buffer>;
  /** Undefined: there is none. */
  head(key: string, options?: OperationOptions): Promise<ObjectFacts | undefined>;
  /**
   * Visible entirely or not at all, and durable once this resolves. Rejects with `PreconditionFailed` when the condition does not hold;
   * of several that race for the same condition exactly one wins. A conditional write whose answer got lost is looked up before it is
   * reported, so that a win is not taken for a loss; only who was replaced again meanwhile cannot be told from a loser.
   */
  put(key: string, body: Uint8Array, options?: PutOptions): Promise<PutAnswer>;
  /** The same with the content of a file, in parts when it is large. */
  putFile(key: string, path: string, options?: PutOptions): Promise<PutAnswer>;
  /** Also when there is none. */
  delete(key: string, options?: OperationOptions): Promise<void>;
  /** Every object whose key begins with `prefix`, ascending by key. */
  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectFacts>;
  /** Of the store's own clock, in milliseconds, as in `lastModifiedMs`. */
  nowMs(): Promise<number>;
  close(): Promise<void>;
}

export interface OperationOptions {
  readonly signal?: AbortSignal;
}

export interface GetOptions extends OperationOptions {
  /** Undefined is also resolved to when the object still has this etag; the caller has it then. */
  readonly unlessEtag?: string;
}

export interface PutOptions extends OperationOptions {
  /** `absent`: create, do not replace. An etag: replace exactly that. Absent: whatever is there. */
  readonly condition?: 'absent' | { readonly etag: string };
}

export interface ListOptions extends OperationOptions {
  /** Only keys after this one. */
  readonly after?: string;
}

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

export interface ObjectFacts {
  readonly key: string;
  readonly bytes: number;
  readonly etag: string;
  readonly lastModifiedMs: number;
}

export interface StoredObject extends ObjectFacts {
  readonly body: Buffer;
}

export interface PutAnswer {
  readonly etag: string;
}

/** The store could not be reached, or failed, for longer than retries last. */
export class ObjectStoreUnavailable extends Error {
  override readonly name: string = 'ObjectStoreUnavailable';
}

/** It will not work before a person has changed something; the message says what. It may be tried again: credentials do get corrected. */
export class ObjectStoreUnusable extends ObjectStoreUnavailable {
  override readonly name = 'ObjectStoreUnusable';
}

export class PreconditionFailed extends Error {
  override readonly name = 'PreconditionFailed';
}

export class ObjectNotFound extends Error {
  override readonly name = 'ObjectNotFound';
}

export class ObjectChanged extends Error {
  override readonly name = 'ObjectChanged';
}
