import { mkdir, readdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { Captures } from './captures.js';
import { type HeapDump, HeapDumpSeries, type SeriesParts } from './heap-dump-series.js';
import { ProfilingPeers } from './profiling-peers.js';
import { rarely } from './rarely.js';
import { isDiskFull } from './whole-file.js';

/** What one profiling node has of a target. */
export interface DumpList {
  readonly isActive: boolean;
  /** Newest first. */
  readonly dumps: readonly HeapDump[];
}

const megabyte = 2 ** 20;
/** Nodes whose heap is dumped periodically by one profiling node. */
const seriesMax = 1_000;

/**
 * Periodic dumps of the native heaps of nodes, in folders under `{data-dir}/heap-dumps/node-{id}`. Whichever profiling node was asked has
 * the series; whichever is asked afterwards finds it there.
 */
@Injectable()
export class HeapDumps implements NodePart {
  readonly name = 'periodic heap dumps';
  readonly #folder: string;
  readonly #series = new Map<string, HeapDumpSeries>();
  /** Being set up or taken down. */
  readonly #changing = new Set<string>();
  readonly #parts: SeriesParts;
  readonly #mayTell: () => boolean;

  constructor(
    private readonly node: NodeContext,
    private readonly captures: Captures,
    private readonly peers: ProfilingPeers,
  ) {
    this.#folder = resolve(node.config.dataDir, 'heap-dumps', `node-${node.id}`);
    this.#mayTell = rarely(node.clock);
    const { clock, log } = node;
    const capture: SeriesParts['capture'] = (targetId, signal) => this.captures.nativeHeapDump(targetId, signal);
    this.#parts = { clock, log, capture, makeRoom: (targetId, bytes) => this.#makeRoom(targetId, bytes) };
    node.addPart(this);
  }

  /** Goes on with what was active when this node stopped. */
  async start(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    for (const entry of await readdir(this.#folder, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      const folder = join(this.#folder, entry.name);
      const series = await HeapDumpSeries.reopen(folder, this.#parts);
      // A folder without its state is one whose deletion, or creation, was cut short.
      if (series === undefined) await rm(folder, { recursive: true, force: true });
      else this.#series.set(series.targetId, series);
    }
    for (const series of this.#series.values()) series.start();
    if (this.#series.size > 0) this.node.log.info({ targets: [...this.#series.keys()].slice(0, 20) }, 'periodic heap dumps go on after the restart');
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#series.values()].map((series) => series.stop()));
  }

  /**
   * Rejects with ALREADY_PROFILING when some profiling node has a series of it, with what a dump is refused with (the target's sampling is
   * not active, it has no jemalloc, it is away), and with OUT_OF_DISK.
   */
  async activate(targetId: string, intervalS: number, signal: AbortSignal): Promise<void> {
    if (this.#series.has(targetId) || this.#changing.has(targetId)) throw alreadyActive();
    if (this.#series.size + this.#changing.size >= seriesMax) throw new BinnacleError('OVERLOADED', `this node dumps the heaps of ${seriesMax} nodes already`);
    this.#changing.add(targetId);
    try {
      const { bodies } = await this.peers.ask<DumpList>({ method: 'GET', path: agentPath(targetId) });
      if (bodies.some(({ isActive }) => isActive)) throw alreadyActive();
      // Whether dumps can be had at all is told now, and not by a log line after the first interval.
      await this.captures.nativeHeapDump(targetId, signal);
      const series = await this.#create(targetId, intervalS);
      this.#series.set(targetId, series);
      series.start();
    } finally {
      this.#changing.delete(targetId);
    }
  }

  /** The dumps of all profiling nodes, newest first, and the ids of those that could not be asked. */
  async list(targetId: string): Promise<{ dumps: HeapDump[]; away: readonly string[] }> {
    const { bodies, away } = await this.peers.ask<DumpList>({ method: 'GET', path: agentPath(targetId) });
    const dumps = [this.listOwn(targetId), ...bodies].flatMap((list) => list.dumps);
    return { dumps: dumps.sort((a, b) => b.takenAtMs - a.takenAtMs), away };
  }

  listOwn(targetId: string): DumpList {
    const series = this.#series.get(targetId);
    return { isActive: series !== undefined || this.#changing.has(targetId), dumps: series?.dumps().toReversed() ?? [] };
  }

  /** Whether there was one. Rejects with UPSTREAM_UNREACHABLE when none was found and a profiling node could not be asked. */
  async deactivate(targetId: string): Promise<boolean> {
    const [own, { bodies, away }] = await Promise.all([
      this.deactivateOwn(targetId),
      this.peers.ask<{ deactivated: boolean }>({ method: 'DELETE', path: agentPath(targetId) }),
    ]);
    if (own || bodies.some(({ deactivated }) => deactivated)) return true;
    if (away.length > 0) throw new BinnacleError('UPSTREAM_UNREACHABLE', `profiling node ${away.join(', ')} does not answer and may have the heap profile`);
    return false;
  }

  async deactivateOwn(targetId: string): Promise<boolean> {
    const series = this.#series.get(targetId);
    if (series === undefined || this.#changing.has(targetId)) return false;
    this.#changing.add(targetId);
    this.#series.delete(targetId);
    try {
      await series.remove();
    } finally {
      this.#changing.delete(targetId);
    }
    return true;
  }

  async #create(targetId: string, intervalS: number): Promise<HeapDumpSeries> {
    try {
      // With the prefix also a node called `..` has a folder of its own.
      return await HeapDumpSeries.create(join(this.#folder, `node-${targetId}`), targetId, intervalS, this.#parts);
    } catch (error) {
      if (isDiskFull(error)) throw new BinnacleError('OUT_OF_DISK', 'the disk of the profiling node is full', { cause: error });
      throw error;
    }
  }

  /** Deletes the oldest dumps until one more of this size is within the limits. Rejects when it may not be written all the same. */
  async #makeRoom(targetId: string, bytes: number): Promise<void> {
    const { heapDumpsMax, heapDumpsMegabytesMax } = this.node.config.profiling;
    const bytesMax = heapDumpsMegabytesMax * megabyte;
    if (bytes > bytesMax) throw new Error(`a dump has ${bytes} bytes, more than profiling.heap-dumps-megabytes-max`);
    if (this.node.resources.resourceError() === 'OUT_OF_DISK') throw new Error('the disk of the profiling node is nearly full');
    let deleted = 0;
    const own = this.#series.get(targetId);
    for (; own !== undefined && own.dumps().length >= heapDumpsMax; deleted++) await own.deleteOldest();
    for (let oldest = this.#oldest(); oldest !== undefined && this.#totalBytes() + bytes > bytesMax; oldest = this.#oldest()) {
      await oldest.deleteOldest();
      deleted++;
    }
    if (deleted > 0 && this.#mayTell()) this.node.log.warn({ deleted, heapDumpsMax, heapDumpsMegabytesMax }, 'periodic heap dumps reached their limit: the oldest go');
  }

  #oldest(): HeapDumpSeries | undefined {
    const takenAtMs = (series: HeapDumpSeries): number => series.dumps()[0]?.takenAtMs ?? Infinity;
    const filled = [...this.#series.values()].filter((series) => series.dumps().length > 0);
    return filled.sort((a, b) => takenAtMs(a) - takenAtMs(b))[0];
  }

  #totalBytes(): number {
    return [...this.#series.values()].flatMap((series) => series.dumps()).reduce((sum, dump) => sum + dump.bytes, 0);
  }
}

function alreadyActive(): BinnacleError {
  return new BinnacleError('ALREADY_PROFILING', 'Already in Profiling');
}

function agentPath(targetId: string): string {
  return `/agent/v1/heap-dumps/${encodeURIComponent(targetId)}`;
}
