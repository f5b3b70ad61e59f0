import { randomUUID } from 'node:crypto';
import type { Clock } from './clock.js';
import { ClusterStateUnavailable, type ClusterState, type DocumentWrite, type DocumentWriteAnswer } from './cluster-state.js';
import { Follower } from './follower.js';
import { checkDocumentKey } from './limits.js';
import { Listeners } from './listeners.js';

export interface WatchedDocumentOptions<T> {
  readonly key: string;
  /** What counts while the document does not exist. */
  readonly initial: T;
  /** Throws on text that is no T; the last good value then stays, and `onInvalid` hears of it. */
  readonly parse: (text: string) => T;
  readonly onInvalid?: (error: Error) => void;
}

/** Other writers were faster every time. */
export class DocumentConflict extends Error {
  readonly code = 'CONFLICT';
}

/** Attempts against writers in other processes, with pauses between them that add up to less than `updateMsMax`. */
const updateAttemptsMax = 16;
const pauseMsMax = 250;
/** No attempt begins later than this after the call, waiting behind other updates of this process included. */
const updateMsMax = 5_000;
/** Updates of one document under way in this process; one more is refused. */
const updatesMax = 256;

/** 5, 10, 20 ... 250 ms, each between half and all of it: writers that met once shall not meet again. */
function pauseMs(attempt: number): number {
  return Math.min(5 * 2 ** attempt, pauseMsMax) * (0.5 + Math.random() / 2);
}

/** A document as a live value: read without waiting, changed by compare-and-set, current within a second everywhere. Stored as JSON. */
export class WatchedDocument<T> {
  readonly #state: ClusterState;
  readonly #clock: Clock;
  readonly #options: WatchedDocumentOptions<T>;
  readonly #listeners = new Listeners<T>();
  readonly #follower: Follower;
  #value: T;
  #version = 0;
  #text: string | undefined;
  #appliedRevision = 0;
  #invalidText: string | undefined;
  /** Reads and writes are numbered as they begin, and an answer that was overtaken is dropped: versions alone may go back with a store. */
  #begun = 0;
  #applied = 0;
  #updates = 0;
  /** Settles, and never rejects, when the update that came last is over. */
  #lastUpdate: Promise<void> = Promise.resolve();

  constructor(state: ClusterState, clock: Clock, options: WatchedDocumentOptions<T>) {
    checkDocumentKey(options.key);
    this.#state = state;
    this.#clock = clock;
    this.#options = options;
    this.#value = options.initial;
    this.#follower = new Follower(state, clock, `document:${options.key}`, () => this.#read());
  }

  /** Resolves after the first read, also when the store is away: the initial value counts then, until it is back. */
  start(): Promise<void> {
    return this.#follower.start();
  }

  value(): T {
    return this.#value;
  }

  /** 0 while the document does not exist. */
  version(): number {
    return this.#version;
  }

  /** The committed revision as of the last successful read; a text that cannot be parsed is none. */
  appliedRevision(): number {
    return this.#appliedRevision;
  }

  onChange(listener: (value: T) => void): () => void {
    return this.#listeners.add(listener);
  }

  /**
   * Reads, changes, writes, one update of this process after another; again when another process was faster, at most 16 times and for 5 s.
   * Throws what `change` throws, `DocumentConflict` when it did not get through or 256 updates wait already, `ClusterStateUnavailable`
   * when the store is away.
   */
  async update(change: (current: T) => T): Promise<T> {
    const { key } = this.#options;
    if (this.#updates >= updatesMax) throw new DocumentConflict(`${updatesMax} changes of ${key} wait already`);
    const untilMs = this.#clock.monotonicMs() + updateMsMax;
    this.#updates++;
    const updated = this.#lastUpdate.then(() => this.#updateInTurn(change, untilMs));
    this.#lastUpdate = updated.then(
      () => void this.#updates--,
      () => void this.#updates--,
    );
    return updated;
  }

  async #updateInTurn(change: (current: T) => T, untilMs: number): Promise<T> {
    const { key } = this.#options;
    for (let attempt = 0; attempt < updateAttemptsMax && this.#clock.monotonicMs() < untilMs; attempt++) {
      if (attempt > 0) await new Promise<void>((resolve) => void this.#clock.after(pauseMs(attempt - 1), resolve));
      const { document } = await this.#state.readDocument(key);
      const current = document === undefined ? this.#options.initial : this.#parseOrLast(document.value);
      const value = JSON.stringify(change(current));
      const order = ++this.#begun;
      const answer = await this.#write({ key, value, expectedVersion: document?.version ?? 0, requestId: randomUUID() });
      if (!answer.written) continue;
      this.#apply(order, value, answer.version, answer.revision);
      return this.#options.parse(value);
    }
    throw new DocumentConflict(`${key} is changed by others all the time: this change did not get through`);
  }

  stop(): void {
    this.#follower.stop();
  }

  /** A write whose answer was lost is asked about once, under the same id: it is then found to be written, or written now. */
  async #write(request: DocumentWrite): Promise<DocumentWriteAnswer> {
    try {
      return await this.#state.writeDocument(request);
    } catch (error) {
      if (!(error instanceof ClusterStateUnavailable) || !(await this.#availableSoon())) throw error;
      return this.#state.writeDocument(request);
    }
  }

  /** A cut connection is back within about 50 ms; nobody who calls `update` should wait much longer than that. */
  #availableSoon(): Promise<boolean> {
    if (this.#state.availability().available) return Promise.resolve(true);
    return new Promise((resolve) => {
      const done = (available: boolean): void => {
        cancelTimer();
        unsubscribe();
        resolve(available);
      };
      const cancelTimer = this.#clock.after(500, () => done(false));
      const unsubscribe = this.#state.onAvailabilityChange(({ available }) => available && done(true));
    });
  }

  #parseOrLast(text: string): T {
    try {
      return this.#options.parse(text);
    } catch {
      return this.#value;
    }
  }

  async #read(): Promise<void> {
    const order = ++this.#begun;
    const { document, revision } = await this.#state.readDocument(this.#options.key);
    if (this.#follower.isRunning()) this.#apply(order, document?.value, document?.version ?? 0, revision);
  }

  #apply(order: number, text: string | undefined, version: number, revision: number): void {
    if (order < this.#applied) return;
    this.#applied = order;
    if (text === this.#text) {
      this.#version = version;
      this.#appliedRevision = revision;
      return;
    }
    let value: T;
    try {
      value = text === undefined ? this.#options.initial : this.#options.parse(text);
    } catch (error) {
      if (text !== this.#invalidText) this.#options.onInvalid?.(error as Error);
      this.#invalidText = text;
      return;
    }
    this.#invalidText = undefined;
    this.#text = text;
    this.#value = value;
    this.#version = version;
    this.#appliedRevision = revision;
    this.#listeners.notify(value);
  }
}
