import type { Clock } from './clock.js';
import type { ClusterState } from './cluster-state.js';

export interface WatchedDocumentOptions<T> {
  readonly key: string;
  /** What counts while the document does not exist. */
  readonly initial: T;
  /** Throws on text that is no T; the last good value then stays, and `onInvalid` hears of it. */
  readonly parse: (text: string) => T;
  readonly onInvalid?: (error: Error) => void;
}

/** A document as a live value: read without waiting, changed by compare-and-set, current within a second everywhere. */
export declare class WatchedDocument<T> {
  constructor(state: ClusterState, clock: Clock, options: WatchedDocumentOptions<T>);
  start(): Promise<void>;
  value(): T;
  version(): number;
  /** The committed revision as of the last successful read. */
  appliedRevision(): number;
  onChange(listener: (value: T) => void): () => void;
  /** Reads, changes, writes; again when another writer was faster, at most 8 times. Throws what `change` throws. */
  update(change: (current: T) => T): Promise<T>;
  stop(): void;
}
