import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { LogTrimmedError } from '../log/log-error.js';
import { readSlice } from '../remote/log-slice.js';
import { RemoteStore } from '../remote/remote-store.js';
import { RowStore } from '../row-store.js';
import { Catalog } from '../tables/catalog.js';
import { WriteNodes } from '../tables/write-nodes.js';
import { withoutLeft } from './assignment.js';
import { handOversMax, nextHandOver } from './hand-overs.js';
import { LateRowsTaker } from './late-rows-taker.js';
import { encodeLogObject, type LoggedRow } from './log-object.js';
import { OwnRegions } from './own-regions.js';
import type { FormerRegion } from './region-file.js';
import type { Region } from './region.js';
import { isIn, removeRegionRows } from './take-over.js';

const retryMs = 1_000;
const sliceBytesMax = 16 * 2 ** 20;
/** Of one request; a document has at most 16 MiB. */
const sentBytesMax = 4 * 2 ** 20;
const sentRowsMax = 1_000;
const sendTimeoutMs = 60_000;

/**
 * What this node acknowledged for a region and had not uploaded when the region was given to another node: it sends those rows to the one that has the
 * region now (which may be itself again), and then removes its own. Repeated from the start after any failure: who takes a row twice has the same.
 */
@Injectable()
export class LateRows implements NodePart {
  readonly name = 'late rows';
  #running: Promise<void> | undefined;
  #cancelRetry: () => void = () => {};
  #isStopped = false;

  constructor(
    private readonly node: NodeContext,
    private readonly catalog: Catalog,
    private readonly rows: RowStore,
    private readonly remote: RemoteStore,
    private readonly own: OwnRegions,
    private readonly taker: LateRowsTaker,
    private readonly writeNodes: WriteNodes,
  ) {
    node.addPart(this);
  }

  async start(): Promise<void> {
    if (!this.remote.isOn()) return;
    this.own.onFormer(() => this.#run());
    this.#run();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelRetry();
    await this.#running;
  }

  #run(): void {
    if (this.#running !== undefined || this.#isStopped) return;
    this.#cancelRetry();
    this.#running = this.#handAllOver().then((isDone) => {
      this.#running = undefined;
      if (!isDone && !this.#isStopped) this.#cancelRetry = this.node.clock.after(retryMs, () => this.#run());
    });
  }

  /** False: something is left. Never rejects. */
  async #handAllOver(): Promise<boolean> {
    let isDone = true;
    for (const former of this.own.former()) {
      if (this.#isStopped) return false;
      try {
        isDone = (await this.#handOver(former)) && isDone;
      } catch (error) {
        isDone = false;
        this.node.log.info({ err: error, regionId: former.regionId }, 'rows of a region that another node has now could not be handed over yet');
      }
    }
    try {
      await this.#forgetLeft();
      await this.taker.forgetLeft();
    } catch (error) {
      this.node.log.debug({ err: error }, 'that rows were handed over could not be noted yet');
      return false;
    }
    return isDone;
  }

  /** False: the one that has the region now is not ready for them. */
  async #handOver(former: FormerRegion): Promise<boolean> {
    const table = this.catalog.byId(former.tableId);
    if (table === undefined) {
      if (!this.catalog.dropped().some(({ id }) => id === former.tableId)) return false;
      await this.own.forgetFormer(former);
      return true;
    }
    const region = table.regions[former.index] as Region;
    const manifest = (await this.own.manifests.read(former.tableId, former.regionId))?.manifest;
    if (manifest === undefined || manifest.term < region.term) return false;
    const next = nextHandOver(manifest, former);
    // Nobody has taken it over entirely yet.
    if (next === undefined) return false;
    // Where the one that came next is not known any more, everything is sent, and looked up by whoever takes it.
    const isForgotten = next === manifest.handOvers?.[0] && manifest.handOvers.length === handOversMax;
    const uploadedVersion = isForgotten ? former.versionBase : next.uploadedVersion;
    let sent = 0;
    const send = async (rows: readonly LoggedRow[]): Promise<void> => {
      if (region.writeNode === this.node.id) await this.taker.take(former.regionId, former, rows);
      else await this.#send(region, table.name, former, rows);
      sent += rows.length;
    };
    await this.#eachLate(former, Math.max(former.loadedTo, uploadedVersion - former.versionBase), send);
    if (region.writeNode !== this.node.id) await removeRegionRows(this.rows, former);
    await this.own.forgetFormer(former);
    this.node.log.info({ regionId: former.regionId, to: region.writeNode, rows: sent }, 'a region of this node went to another one, with the rows that only this one had');
    return true;
  }

  /** Rows newer than `after`, a position in the commit log; of each handle the newest last. */
  async #eachLate(former: FormerRegion, after: number, send: (rows: readonly LoggedRow[]) => Promise<void>): Promise<void> {
    const { regionId, tableId, index, regionCount, versionBase, toPosition } = former;
    const region = { tableId, regionId, index, regionCount, afterVersion: after, versionBase, schemaVersion: 0, columns: [] };
    let reached = after;
    try {
      while (reached < toPosition) {
        const slice = await readSlice({ logFolder: this.rows.logFolder(), afterVersion: reached, toVersion: toPosition, bytesMax: sliceBytesMax, regions: [region] });
        const newest = slice.regions.flatMap(({ rows }) => [...rows]);
        await inParts(newest.map(([key, { version, document }]) => ({ handle: Buffer.from(key, 'latin1'), version: versionBase + version, document })), send);
        reached = slice.toVersion;
      }
    } catch (error) {
      if (!(error instanceof LogTrimmedError)) throw error;
      // The log was cut back for want of room: the rows are here, and marks of those deleted.
      let together: LoggedRow[] = [];
      for await (const { handle, version, document } of this.rows.scanVersions(tableId)) {
        if (version <= after || version > toPosition || !isIn(handle, index, regionCount)) continue;
        if (together.push({ handle, version: versionBase + version, document }) < sentRowsMax) continue;
        await inParts(together, send);
        together = [];
      }
      await inParts(together, send);
    }
  }

  async #send({ writeNode }: Region, name: string, { tableId, regionId, term, versionBase }: FormerRegion, rows: readonly LoggedRow[]): Promise<void> {
    const body = encodeLogObject(tableId, { kind: 'rows', term, node: this.node.id, versionBase, id: String(regionId) }, rows);
    const headers = { 'content-type': 'application/octet-stream' };
    const answer = await this.writeNodes.send(writeNode, { name }, { method: 'POST', path: '/internal/v1/late-rows', headers, body, signal: AbortSignal.timeout(sendTimeoutMs) });
    await answer.body.dump();
    if (answer.statusCode !== 200) throw new BinnacleError('NO_TARGET', `node ${writeNode} does not take them: ${answer.statusCode}`);
  }

  /** This node has nothing (more) of regions whose list it is on. */
  async #forgetLeft(): Promise<void> {
    const kept = new Set([...this.own.former().map(({ regionId }) => regionId), ...this.own.leaving()]);
    const left = this.catalog.all().flatMap(({ regions }) => regions.filter(({ id, leftAt }) => leftAt?.includes(this.node.id) === true && !kept.has(id)));
    if (left.length === 0) return;
    const ids = new Set(left.map(({ id }) => id));
    await this.catalog.assign((tables) => withoutLeft(tables, ids, this.node.id));
  }
}

async function inParts(rows: readonly LoggedRow[], send: (rows: readonly LoggedRow[]) => Promise<void>): Promise<void> {
  let part: LoggedRow[] = [];
  let bytes = 0;
  for (const row of rows) {
    part.push(row);
    bytes += row.handle.length + (row.document?.length ?? 0);
    if (part.length < sentRowsMax && bytes < sentBytesMax) continue;
    await send(part);
    [part, bytes] = [[], 0];
  }
  if (part.length > 0) await send(part);
}
