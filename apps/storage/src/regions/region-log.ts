import { randomUUID } from 'node:crypto';
import type { Clock } from '@binnacle/cluster-state/clock';
import { BinnacleError } from '@binnacle/contracts/errors';
import { type ObjectStore, PreconditionFailed } from '@binnacle/object-store/object-store';
import { decodeLogObject, encodeLogObject, type LogHead, type LoggedRow, logObjectKey, type LogObject, sequenceOf } from './log-object.js';
import { logPrefix } from '../remote/manifest.js';

/** Where a region's log is, and who writes it. */
export interface LogOwner {
  readonly tableId: number;
  readonly regionId: number;
  readonly term: number;
  readonly node: string;
}

/** Another node has the region in a later term. */
export class RegionLogFenced extends Error {
  override readonly name = 'RegionLogFenced';
}

/** Of one object; what comes in meanwhile goes into the next one. */
const objectBytesMax = 8 * 2 ** 20;
/** Rows that wait for the remote store, of one region. */
const waitingBytesMax = 64 * 2 ** 20;
/** A client that asked for `remote` waits this long for the store; that its write is kept is not known then. */
const acknowledgeMsMax = 15_000;

interface Waiting {
  readonly rows: readonly LoggedRow[];
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export interface LoggedObject {
  readonly sequence: number;
  /** Of its rows, as versions of this owner. */
  readonly lastVersion: number;
}

export interface LogChain {
  readonly objects: readonly LoggedObject[];
  readonly next: number;
}

export interface LogMeter {
  /** An object was put, or not. */
  put(seconds: number, isDone: boolean): void;
}

/**
 * The log of one region in the remote store, as its write node adds to it (durability `remote`): a chain of objects numbered without gaps, each
 * created only if there is none of its number. A new owner ends the chain with a fence, an object like the others: the old owner's next number is then
 * taken, by whoever it reads there, and it acknowledges nothing more. One object is put at a time, and rows that come in meanwhile share the next.
 */
export class RegionLog {
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #adding: Promise<void> | undefined;
  /** Whether this one is there is not known: it is put again, the same bytes, before anything else is. */
  #uncertain: { readonly body: Buffer; readonly id: string; readonly lastVersion: number } | undefined;
  #fenced: BinnacleError | undefined;
  #sequence: number;
  /** Objects with rows that are there, oldest first, with the newest version in each. */
  #objects: LoggedObject[];

  constructor(
    private readonly store: () => ObjectStore,
    private readonly clock: Clock,
    private readonly owner: LogOwner,
    /** That the versions of its rows are made with. */
    private readonly versionBase: number,
    /** What is there already, and the first number that is free. */
    chain: LogChain,
    private readonly onFenced: () => void,
    private readonly meter: LogMeter,
  ) {
    this.#objects = [...chain.objects];
    this.#sequence = chain.next;
  }

  /** Resolves once the rows are in the remote store. Rejects with NO_TARGET when the region is another node's, NOT_READY when the store does not answer. */
  async append(rows: readonly LoggedRow[]): Promise<void> {
    if (this.#fenced !== undefined) throw this.#fenced;
    const bytes = rows.reduce((sum, { handle, document }) => sum + handle.length + (document?.length ?? 0), 0);
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes > waitingBytesMax) throw unanswered('the remote store takes rows in too slowly: the write is on this node, and not in it yet');
    const added = new Promise<void>((resolve, reject) => {
      const late = (): void => reject(unanswered('the remote store does not answer: the write is on this node, and may not be in it'));
      const cancel = this.clock.after(acknowledgeMsMax, late);
      this.#waiting.push({ rows, bytes, resolve: () => (cancel(), resolve()), reject: (error) => (cancel(), reject(error)) });
    });
    this.#waitingBytes += bytes;
    this.#adding ??= this.#addAll();
    return added;
  }

  /** The number of the first object that is needed once everything up to this version is in segments. */
  neededFrom(uploadedVersion: number): number {
    return this.#objects.find(({ lastVersion }) => lastVersion > uploadedVersion)?.sequence ?? this.#sequence;
  }

  /** Removes what the published manifest needs no more. Fences are left, so that a node which slept through everything still meets one. */
  async trim(logFrom: number): Promise<void> {
    const unneeded = this.#objects.filter(({ sequence }) => sequence < logFrom);
    this.#objects = this.#objects.filter(({ sequence }) => sequence >= logFrom);
    for (const { sequence } of unneeded) await this.store().delete(logObjectKey(this.owner.tableId, this.owner.regionId, sequence));
  }

  async #addAll(): Promise<void> {
    // What is appended in the same turn goes out together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      try {
        if (this.#uncertain !== undefined) await this.#put();
        const rows = group.flatMap((each) => each.rows);
        const head: LogHead = { kind: 'rows', term: this.owner.term, node: this.owner.node, versionBase: this.versionBase, id: randomUUID() };
        this.#uncertain = { body: encodeLogObject(this.owner.tableId, head, rows), id: head.id, lastVersion: lastVersionOf(rows) };
        await this.#put();
        for (const { resolve } of group) resolve();
      } catch (error) {
        const reason = error instanceof RegionLogFenced ? this.#fence(error) : unanswered('the remote store did not take the write in: it is on this node, and may not be in the store', error);
        for (const { reject } of group) reject(reason);
      }
    }
    // In the same turn as the last look at what waits.
    this.#adding = undefined;
  }

  #takeGroup(): Waiting[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#waiting.length && (count === 0 || bytes + (this.#waiting[count] as Waiting).bytes <= objectBytesMax)) bytes += (this.#waiting[count++] as Waiting).bytes;
    this.#waitingBytes -= bytes;
    return this.#waiting.splice(0, count);
  }

  /**
   * The uncertain object, under the first number that is taken by no other: one that is passed over would be a hole that the fence of the next owner
   * goes into, and what lies behind it would be in nobody's chain. The object is never given up for another one: its old number may have been used up by it,
   * read by a new owner and deleted as no longer needed, and what took that number then would be in nobody's chain.
   */
  async #put(): Promise<void> {
    const { body, id, lastVersion } = this.#uncertain as { body: Buffer; id: string; lastVersion: number };
    const { tableId, regionId, term } = this.owner;
    for (;;) {
      if (this.#fenced !== undefined) throw new RegionLogFenced('the region is another node’s');
      const key = logObjectKey(tableId, regionId, this.#sequence);
      const startedAtMs = performance.now();
      let isDone = false;
      try {
        await this.store().put(key, body, { condition: 'absent' });
        isDone = true;
      } catch (error) {
        if (!(error instanceof PreconditionFailed)) throw error;
        const there = await this.store().get(key);
        if (there === undefined) throw contested(key);
        const { head } = decodeLogObject(there.body, key);
        if (head.term > term) throw new RegionLogFenced(`node ${head.node} took the region over in term ${head.term}`);
        isDone = head.id === id;
      } finally {
        this.meter.put((performance.now() - startedAtMs) / 1_000, isDone);
      }
      const sequence = this.#sequence++;
      if (!isDone) continue;
      this.#uncertain = undefined;
      this.#objects.push({ sequence, lastVersion });
      return;
    }
  }

  #fence(cause: Error): BinnacleError {
    if (this.#fenced === undefined) {
      this.#fenced = new BinnacleError('NO_TARGET', 'Another node has taken the rows over.', { cause, retryAfterS: 1 });
      this.onFenced();
    }
    return this.#fenced;
  }
}

const lastVersionOf = (rows: readonly LoggedRow[]): number => rows.reduce((last, { version }) => Math.max(last, version), -Infinity);

function unanswered(message: string, cause?: unknown): BinnacleError {
  return new BinnacleError('NO_TARGET', `Durability remote: ${message}.`, { cause, retryAfterS: 1 });
}

/** A store may refuse two who put at the same time, and have neither's: whose the number becomes is not known then. */
function contested(key: string): Error {
  return new Error(`the remote store refused ${key}, and has none`);
}

/** The numbers of the objects from `from` on that are there, ascending. */
export async function logSequences(store: ObjectStore, { tableId, regionId }: Pick<LogOwner, 'tableId' | 'regionId'>, from: number): Promise<number[]> {
  const sequences: number[] = [];
  for await (const { key } of store.list(logPrefix(tableId, regionId), { after: logObjectKey(tableId, regionId, from - 1) })) sequences.push(sequenceOf(key));
  return sequences;
}

/**
 * Ends what nodes of earlier terms may write, and resolves to the numbers of the objects before the fence and the first free one after it. Rejects with
 * `RegionLogFenced` when there is a fence of a later term.
 */
export async function fenceLog(store: ObjectStore, owner: LogOwner, from: number): Promise<{ sequences: number[]; next: number }> {
  const sequences = await logSequences(store, owner, from);
  const last = sequences.at(-1);
  if (last !== undefined && isOwnFence((await readLogObject(store, owner, last)).head, owner)) return { sequences: sequences.slice(0, -1), next: last + 1 };
  const body = encodeLogObject(owner.tableId, { kind: 'fence', term: owner.term, node: owner.node, versionBase: 0, id: randomUUID() }, []);
  for (let sequence = (sequences.at(-1) ?? from - 1) + 1; ; sequence++) {
    const key = logObjectKey(owner.tableId, owner.regionId, sequence);
    try {
      await store.put(key, body, { condition: 'absent' });
      return { sequences, next: sequence + 1 };
    } catch (error) {
      if (!(error instanceof PreconditionFailed)) throw error;
      if ((await store.head(key)) === undefined) throw contested(key);
      sequences.push(sequence);
    }
  }
}

/** Of an attempt before: the more attempts, the longer each would take if every one of them left a fence. */
function isOwnFence({ kind, term, node }: LogHead, owner: LogOwner): boolean {
  return kind === 'fence' && term === owner.term && node === owner.node;
}

/** Rejects with `RegionLogFenced` on an object of a later term. */
export async function readLogObject(store: ObjectStore, owner: LogOwner, sequence: number): Promise<LogObject> {
  const key = logObjectKey(owner.tableId, owner.regionId, sequence);
  const stored = await store.get(key);
  if (stored === undefined) throw new Error(`${key} was there a moment ago and is not now`);
  const object = decodeLogObject(stored.body, key);
  if (object.head.term > owner.term) throw new RegionLogFenced(`node ${object.head.node} took the region over in term ${object.head.term}`);
  return object;
}

/**
 * The chain as a node finds it that has the region already, in the same term: after its restart. Objects of the owners before are rows of its own that
 * it loaded. Rejects with `RegionLogFenced`.
 */
export async function readChain(store: ObjectStore, owner: LogOwner, from: number, { versionBase, loadedTo }: { versionBase: number; loadedTo: number }): Promise<LogChain> {
  const objects: LoggedObject[] = [];
  const sequences = await logSequences(store, owner, from);
  for (const sequence of sequences) {
    const { head, rows } = await readLogObject(store, owner, sequence);
    if (head.kind !== 'rows') continue;
    const isOwn = head.term === owner.term && head.versionBase === versionBase;
    objects.push({ sequence, lastVersion: isOwn ? lastVersionOf(rows) : versionBase + loadedTo });
  }
  return { objects, next: (sequences.at(-1) ?? from - 1) + 1 };
}
