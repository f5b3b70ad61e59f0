import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '@binnacle/cluster-state/clock';
import { BinnacleError } from '@binnacle/contracts/errors';
import { type ObjectStore, type OperationOptions, PreconditionFailed } from '@binnacle/object-store/object-store';
import { eachOf } from '../each-of.js';
import { readHead } from '../remote/snapshot-garbage.js';
import {
  isSnapshotName, parseSnapshotHead, snapshotFilesPrefix, type SnapshotHead, snapshotManifestKey, snapshotManifestText, snapshotSilenceMsMax,
} from '../remote/snapshot-object.js';
import { type Manifest, manifestName, parseManifest, type SnapshotFile } from './manifest.js';
import type { Verified } from './verify-snapshot.js';

const prefix = 'remote:';
const filesTogether = 4;
/** A quarter of the silence after which others give the attempt up, and less. */
const beatMs = 300_000;
const partBytes = 8 * 2 ** 20;
/** A node that stops has no more time than this for what it leaves behind; the collector takes the rest. */
const cleanUpMsMax = 5_000;

/** The name in `remote:NAME`. Undefined: it is a path of a folder. Throws BAD_REQUEST on a name that cannot be. */
export function remoteSnapshotName(path: unknown): string | undefined {
  if (typeof path !== 'string' || !path.startsWith(prefix)) return undefined;
  const name = path.slice(prefix.length);
  if (isSnapshotName(name)) return name;
  throw new BinnacleError('BAD_REQUEST', 'The name of a snapshot in the remote store has one to three parts joined by `/`: letters, digits and `. _ -`, at most 64 each, not beginning with a dot.');
}

/** What a client asks for to have it there. */
export const remoteSnapshotPath = (name: string): string => `${prefix}${name}`;

export interface RemoteSnapshotParts {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly node: string;
  readonly name: string;
  readonly signal: AbortSignal;
  readonly onBytes: (done: number) => void;
}

/**
 * Puts a finished snapshot in a folder into the remote store. It has its name there once all of it is: until then it is an attempt under way, which says so
 * every few minutes, and which the collector takes when it does not. Rejects with BAD_REQUEST when there is one of this name, CONFLICT while somebody makes one.
 */
export class RemoteSnapshotUpload {
  readonly #folder = `files-${randomBytes(8).toString('hex')}`;
  readonly #abort = new AbortController();
  readonly #options: OperationOptions;
  #etag = '';
  #beat: Promise<void> = Promise.resolve();
  #cancelBeat = (): void => {};
  #isEnding = false;

  constructor(private readonly parts: RemoteSnapshotParts) {
    this.#options = { signal: AbortSignal.any([parts.signal, this.#abort.signal]) };
  }

  /** Before anything is made of it locally. */
  async claim(): Promise<void> {
    const { store, name } = this.parts;
    const found = await readHead(store, name, this.#options);
    if (found?.state === 'complete') throw new BinnacleError('BAD_REQUEST', `There is a snapshot ${prefix}${name}: a snapshot replaces nothing.`);
    const isSilent = found !== undefined && (await store.nowMs()) - found.lastModifiedMs >= snapshotSilenceMsMax;
    if (found?.state === 'under way' && !isSilent) throw busy(name);
    try {
      await this.#put('under way', {}, found?.etag);
    } catch (error) {
      throw error instanceof PreconditionFailed ? busy(name) : error;
    }
    this.#scheduleBeat();
  }

  async upload(local: string): Promise<void> {
    const { store, name, onBytes } = this.parts;
    const text = await readFile(join(local, manifestName), 'utf8');
    const { files } = parseManifest(text, manifestName);
    let done = 0;
    await eachOf(files, filesTogether, async ({ path, bytes }) => {
      await store.putFile(`${snapshotFilesPrefix(name, this.#folder)}${path}`, join(local, path), { ...this.#options, condition: 'absent' });
      onBytes((done += bytes));
    });
    await this.#endBeats();
    this.#options.signal?.throwIfAborted();
    await this.#put('complete', JSON.parse(text) as Record<string, unknown>, this.#etag);
  }

  /** After a failure: nothing of it is left, or the collector finds it. Never rejects. */
  async giveUp(): Promise<void> {
    const { store, name, clock } = this.parts;
    this.#abort.abort(new Error('the snapshot was given up'));
    await this.#endBeats();
    const late = new AbortController();
    const cancel = clock.after(cleanUpMsMax, () => late.abort());
    const options = { signal: late.signal };
    try {
      const head = await readHead(store, name, options);
      if (head?.folder !== this.#folder || head.state !== 'under way') return;
      await store.put(snapshotManifestKey(name), Buffer.from(snapshotManifestText({ state: 'abandoned', folder: this.#folder }, {})), { ...options, condition: { etag: head.etag } });
      for await (const { key } of store.list(snapshotFilesPrefix(name, this.#folder), options)) await store.delete(key, options);
    } catch {
      // What keeps it from being made keeps it from being removed.
    } finally {
      cancel();
    }
  }

  async #put(state: SnapshotHead['state'], rest: Record<string, unknown>, etag: string | undefined): Promise<void> {
    const { store, name, node } = this.parts;
    const body = Buffer.from(snapshotManifestText({ state, folder: this.#folder }, state === 'complete' ? rest : { node }));
    ({ etag: this.#etag } = await store.put(snapshotManifestKey(name), body, { ...this.#options, condition: etag === undefined ? 'absent' : { etag } }));
  }

  #scheduleBeat(): void {
    if (!this.#isEnding) this.#cancelBeat = this.parts.clock.after(beatMs, () => (this.#beat = this.#goOn()));
  }

  /** A beat behind the last word would take it back. */
  async #endBeats(): Promise<void> {
    this.#isEnding = true;
    this.#cancelBeat();
    await this.#beat;
  }

  /** Never rejects. A store that does not answer for a while gives nothing up; somebody else may have. */
  async #goOn(): Promise<void> {
    try {
      await this.#put('under way', {}, this.#etag);
    } catch (error) {
      const head = await readHead(this.parts.store, this.parts.name, this.#options).catch(() => undefined);
      if (head?.folder === this.#folder && head.state === 'under way') this.#etag = head.etag;
      else if (head !== undefined || error instanceof PreconditionFailed) this.#abort.abort(error);
    }
    this.#scheduleBeat();
  }
}

function busy(name: string): BinnacleError {
  return new BinnacleError('CONFLICT', `Another snapshot ${prefix}${name} is in progress.`, { retryAfterS: 5 });
}

export interface RemoteManifest {
  readonly manifest: Manifest;
  /** Of its files. */
  readonly prefix: string;
}

/** Rejects with an Error that says in one line what is wrong with it. */
export async function readRemoteManifest(store: ObjectStore, name: string): Promise<RemoteManifest> {
  const found = await store.get(snapshotManifestKey(name));
  if (found === undefined) throw new Error(`there is no snapshot ${prefix}${name} in ${store.url}`);
  const text = found.body.toString();
  const { state, folder } = parseSnapshotHead(text);
  if (state !== 'complete') throw new Error(`${prefix}${name} is a half-made snapshot`);
  return { manifest: parseManifest(text, `the manifest of ${prefix}${name}`), prefix: snapshotFilesPrefix(name, folder) };
}

/** Without its manifest it is no snapshot: what is left when the rest of the removal does not happen is the collector's. */
export async function removeRemoteSnapshot(store: ObjectStore, name: string): Promise<void> {
  const { prefix: below } = await readRemoteManifest(store, name);
  await store.delete(snapshotManifestKey(name));
  for await (const { key } of store.list(below)) await store.delete(key);
}

/** Compares a snapshot in the remote store with its manifest, every byte. Rejects when there is no manifest that can be trusted. */
export async function verifyRemoteSnapshot(store: ObjectStore, name: string, onProgress: (done: number, total: number) => void): Promise<Verified> {
  const { manifest, prefix: below } = await readRemoteManifest(store, name);
  const sizes = new Map<string, number>();
  for await (const { key, bytes } of store.list(below)) sizes.set(key.slice(below.length), bytes);
  const expected = new Set(manifest.files.map(({ path }) => path));
  const problems = [...sizes.keys()].filter((path) => !expected.has(path)).map((path) => `${path} is not in the manifest: the snapshot was changed`);
  const total = bytesOf(manifest.files);
  let done = 0;
  await eachOf(manifest.files, filesTogether, async (file) => {
    const size = sizes.get(file.path);
    if (size === undefined) problems.push(`${file.path} is missing`);
    else if (size !== file.bytes) problems.push(`${file.path} has ${size} bytes, not ${file.bytes}`);
    else if (!(await read(store, below, file, async () => {}))) problems.push(`${file.path} is damaged: its checksum does not match`);
    onProgress((done += file.bytes), total);
  });
  return { manifest, problems };
}

/** Copies the files of the snapshot below a folder, each verified. Rejects on the first that is damaged. */
export async function downloadSnapshot(store: ObjectStore, { manifest, prefix: below }: RemoteManifest, to: string, onProgress: (done: number, total: number) => void): Promise<void> {
  const total = bytesOf(manifest.files);
  let done = 0;
  await eachOf(manifest.files, filesTogether, async (file) => {
    const path = join(to, file.path);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const written = await open(path, 'wx', 0o600);
    try {
      const isGood = await read(store, below, file, async (part) => void (await written.writeFile(part)));
      if (!isGood) throw new Error(`the snapshot is damaged, nothing was restored: the checksum of ${file.path} does not match`);
      await written.sync();
    } finally {
      await written.close();
    }
    onProgress((done += file.bytes), total);
  });
}

/** Whether its checksum is the manifest's. */
async function read(store: ObjectStore, below: string, { path, bytes, sha256 }: SnapshotFile, take: (part: Buffer) => Promise<void>): Promise<boolean> {
  const hash = createHash('sha256');
  for (let offset = 0; offset < bytes; offset += partBytes) {
    const part = await store.getRange(`${below}${path}`, { offset, length: Math.min(partBytes, bytes - offset) });
    hash.update(part);
    await take(part);
  }
  return hash.digest('hex') === sha256;
}

function bytesOf(files: readonly SnapshotFile[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}
