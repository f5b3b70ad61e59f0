import { randomBytes } from 'node:crypto';
import { chmod, lstat, mkdir, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { getSystemErrorMessage } from 'node:util';
import { writeBackup } from '@binnacle/cluster-state/backup';
import { BinnacleError } from '@binnacle/contracts/errors';
import { buildInfo } from '@binnacle/node-kit/build-info';
import { identityFile } from '@binnacle/node-kit/identity';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { syncFolder } from '@binnacle/node-kit/sync-folder';
import { ObjectStoreUnavailable } from '@binnacle/object-store/object-store';
import { Injectable } from '@nestjs/common';
import { Gauge } from 'prom-client';
import { RemoteStore } from '../remote/remote-store.js';
import { RowStore } from '../row-store.js';
import { Tasks, type RunningTask } from '../tasks.js';
import { copyFiles } from './copy-tree.js';
import { HalfMade } from './half-made.js';
import { listFiles, manifestName, manifestText } from './manifest.js';
import { remoteSnapshotName, RemoteSnapshotUpload } from './remote-snapshot.js';
import { Sealer } from './seal.js';
import { resolveSnapshotPath } from './snapshot-path.js';

/** A snapshot that has been made. */
export interface SnapshotFacts {
  /** `remote:NAME` in the remote store. */
  readonly path: string;
  /** Newest version of a row in it. */
  readonly version: number;
  readonly files: number;
  readonly bytes: number;
  /** How long the rows were being linked; writes wait for a part of it. */
  readonly checkpointMs: number;
}

/** Makes snapshots of this node: one at a time, whole or not at all. */
@Injectable()
export class Snapshots implements NodePart {
  readonly name = 'snapshots';
  readonly #halfMade: HalfMade;
  /** Where a snapshot for the remote store is made before it goes there. */
  readonly #draft: string;
  readonly #sealer = new Sealer();
  readonly #lastSuccess: Gauge;
  #running: { readonly abort: AbortController; ended: Promise<unknown> } | undefined;

  constructor(
    private readonly node: NodeContext,
    private readonly rows: RowStore,
    private readonly tasks: Tasks,
    private readonly remote: RemoteStore,
  ) {
    this.#draft = join(node.config.dataDir, 'storage', 'remote-snapshot');
    this.#halfMade = new HalfMade(join(node.config.dataDir, 'storage'));
    this.#lastSuccess = new Gauge({
      name: 'binnacle_storage_last_snapshot_timestamp_seconds',
      help: 'When the last snapshot of this node was complete; 0 before the first since its start.',
      registers: [node.metrics],
    });
    node.addPart(this);
  }

  /** Folders under which snapshots may be written; the first is where scheduled ones go. */
  roots(): readonly string[] {
    const { dataDir, storage } = this.node.config;
    return storage.snapshotRoots.length > 0 ? storage.snapshotRoots : [resolve(dataDir, 'snapshots')];
  }

  async start(): Promise<void> {
    await rm(this.#draft, { recursive: true, force: true });
    const partial = await this.#halfMade.remove();
    if (partial !== undefined) this.node.log.warn({ partial }, 'a snapshot was under way when this node ended: what was made of it is removed');
  }

  /** What runs is given up: the next start can make another one, and a stop has a deadline. */
  async drain(): Promise<void> {
    this.#running?.abort.abort(new BinnacleError('SNAPSHOT_FAILED', 'Copy failed: the node stops.'));
    await this.#running?.ended;
  }

  /**
   * Makes a snapshot with every write acknowledged before the call, in a folder, or in the remote store where the path is `remote:NAME`. Rejects with `BinnacleError`: BAD_REQUEST for a path that may not be,
   * CONFLICT while another one is made, NOT_READY, SNAPSHOT_FAILED for the rest; nothing of it is left then.
   */
  async take(path: unknown): Promise<SnapshotFacts> {
    if (this.#running !== undefined) throw new BinnacleError('CONFLICT', 'Another snapshot is in progress.', { retryAfterS: 5 });
    const abort = new AbortController();
    const taking = this.#take(path, abort.signal);
    this.#running = { abort, ended: taking.catch(() => undefined) };
    try {
      return await taking;
    } finally {
      this.#running = undefined;
    }
  }

  async #take(path: unknown, signal: AbortSignal): Promise<SnapshotFacts> {
    const name = remoteSnapshotName(path);
    const target = name === undefined ? await resolveSnapshotPath(path, { roots: this.roots(), dataDir: this.node.config.dataDir }) : (path as string);
    return this.tasks.run('snapshot', target, async (task) => {
      try {
        const facts = await (name === undefined ? this.#build(target, task, signal) : this.#buildRemote(name, target, task, signal));
        const { version, files, bytes, checkpointMs } = facts;
        task.result({ version, files, bytes, checkpointMs });
        this.#lastSuccess.set(this.node.clock.nowMs() / 1_000);
        this.node.log.info(facts, 'snapshot made');
        return facts;
      } catch (error) {
        this.node.log.error({ err: error, path: target }, `no snapshot was made: ${reasonOf(error)}`);
        if (error instanceof BinnacleError) throw error;
        throw new BinnacleError('SNAPSHOT_FAILED', `Copy failed: ${reasonOf(error)}.`, { cause: error });
      }
    });
  }

  /** In a folder of its own first: links, which cost nothing until rows are compacted. */
  async #buildRemote(name: string, path: string, task: RunningTask, signal: AbortSignal): Promise<SnapshotFacts> {
    let total = 0;
    const onBytes = (done: number): void => task.progress({ done, total, unit: 'bytes' });
    const upload = new RemoteSnapshotUpload({ store: this.remote.store(), clock: this.node.clock, node: this.node.id, name, signal, onBytes });
    await upload.claim();
    try {
      const facts = await this.#build(this.#draft, task, signal);
      total = facts.bytes;
      await upload.upload(this.#draft);
      return { ...facts, path };
    } catch (error) {
      await upload.giveUp();
      throw error;
    } finally {
      await rm(this.#draft, { recursive: true, force: true });
    }
  }

  /** Everything in a folder beside the target, which takes the target's name when it is complete and on disk. */
  async #build(target: string, task: RunningTask, signal: AbortSignal): Promise<SnapshotFacts> {
    const partial = `${target}.partial-${randomBytes(4).toString('hex')}`;
    const madeFolders = await makeFolders(dirname(target));
    try {
      await this.#halfMade.begin(partial);
      await mkdir(partial, { mode: 0o700 });
      const createdAt = new Date(this.node.clock.nowMs()).toISOString();
      const beganAtMs = performance.now();
      const version = await this.rows.checkpoint(this.#halfMade.checkpoint);
      const checkpointMs = Math.round(performance.now() - beganAtMs);
      await this.#moveRows(join(partial, 'storage'), signal);
      // After the rows: a table may be in it that has none yet, but no row is without its table.
      await writeBackup(this.node.state, partial);
      await writeFile(join(partial, identityFile(this.node.roles)), `${this.node.id}\n`);
      const files = await this.#seal(partial, task, signal);
      const { id: node, roles } = this.node;
      const manifest = manifestText({ createdAt, node, roles, version, madeBy: buildInfo.version, files });
      await writeFile(join(partial, manifestName), manifest, { flag: 'wx', flush: true });
      await syncFolder(partial);
      await rename(partial, target);
      for (const folder of [target, ...madeFolders]) await syncFolder(dirname(folder));
      await this.#halfMade.remove();
      return { path: target, version, files: files.length, bytes: files.reduce((sum, { bytes }) => sum + bytes, 0), checkpointMs };
    } catch (error) {
      await this.#halfMade.remove();
      for (const folder of madeFolders) await rmdir(folder).catch(() => undefined);
      throw error;
    }
  }

  /** Renamed where the snapshot is on the same file system, which costs nothing; else copied, while writes go on. */
  async #moveRows(to: string, signal: AbortSignal): Promise<void> {
    const from = this.#halfMade.checkpoint;
    await chmod(from, 0o700);
    try {
      await rename(from, to);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
      const { files, folders } = await listFiles(from);
      for (const folder of ['', ...folders]) await mkdir(join(to, folder), { mode: 0o700 });
      await copyFiles(from, to, files, { signal, onFile: () => {} });
      await rm(from, { recursive: true });
    }
  }

  async #seal(partial: string, task: RunningTask, signal: AbortSignal) {
    const { files } = await listFiles(partial);
    const sizes = await Promise.all(files.map(async (path) => (await lstat(join(partial, path))).size));
    const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
    let done = 0;
    return this.#sealer.seal(partial, { signal, onBytes: (read) => task.progress({ done: (done += read), total, unit: 'bytes' }) });
  }
}

/** Makes the folders that are missing and resolves with them, the innermost first. One by one: under /proc Node.js never returns when told to make them all. */
async function makeFolders(path: string): Promise<string[]> {
  try {
    await mkdir(path, { mode: 0o700 });
    return [path];
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return [];
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    const outer = await makeFolders(dirname(path));
    if (outer.length === 0) throw error;
    await mkdir(path, { mode: 0o700 });
    return [path, ...outer];
  }
}

/** Without the paths of the machine, which are in the log. */
function reasonOf(error: unknown): string {
  const { code, errno } = error as NodeJS.ErrnoException;
  if (error instanceof ObjectStoreUnavailable) return 'the remote store does not answer';
  if (code !== undefined && errno !== undefined) return `${code}, ${getSystemErrorMessage(errno)}`;
  return (error as Error).message;
}
