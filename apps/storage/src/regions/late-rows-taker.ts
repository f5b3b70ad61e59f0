import { join } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { answerErrorsOf } from '@binnacle/node-kit/error-answers';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyInstance } from 'fastify';
import { RemoteStore } from '../remote/remote-store.js';
import { type RowChange, RowStore } from '../row-store.js';
import { nextHandOver, type Ownership } from './hand-overs.js';
import { LateOrigins } from './late-origins.js';
import { decodeLogObject, type LoggedRow } from './log-object.js';
import { OwnRegions } from './own-regions.js';
import type { HeldRegion } from './held-region.js';
import type { LoadedRegion } from './region-file.js';
import type { Origins } from './take-over.js';
import { UploadedVersions } from './uploaded-versions.js';

/** Formula: the rows of one request, the last of which may be a document of 16 MiB, and their heads. */
const bodyBytesMax = 24 * 2 ** 20;

/**
 * Takes rows that a former owner of a region acknowledged and had not uploaded. Versions of the region only grow from owner to owner, so a late row
 * counts unless this node has something newer: a row that a client wrote here is newer, of one that was loaded the version is known or looked up.
 */
@Injectable()
export class LateRowsTaker implements OnModuleInit {
  readonly #uploaded: UploadedVersions;
  readonly #origins: LateOrigins;
  /** Settles once what an earlier process took of the region is known. */
  readonly #known = new WeakMap<HeldRegion, Promise<void>>();

  constructor(
    private readonly node: NodeContext,
    private readonly adapter: HttpAdapterHost,
    private readonly rows: RowStore,
    remote: RemoteStore,
    private readonly own: OwnRegions,
  ) {
    const folder = join(node.config.dataDir, 'storage');
    const segmentsOf = async ({ owner }: HeldRegion) => (await own.manifests.read(owner.tableId, owner.regionId))?.manifest.segments ?? [];
    this.#uploaded = new UploadedVersions({ clock: node.clock, store: () => remote.store(), folder: join(folder, 'loading'), segmentsOf });
    this.#origins = new LateOrigins(join(folder, 'late-rows'));
  }

  onModuleInit(): void {
    void this.adapter.httpAdapter.getInstance<FastifyInstance>().register(async (scope) => {
      answerErrorsOf(scope, this.node.log);
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: bodyBytesMax }, (_request, body, done) => done(null, body));
      scope.post('/internal/v1/late-rows', { bodyLimit: bodyBytesMax }, async (request) => {
        const { head, rows } = decodeLogObject(request.body as Buffer, 'the request');
        return { taken: await this.take(Number(head.id), head, rows) };
      });
    });
  }

  /** How many counted, of rows which that owner wrote. Resolves once they are durable. Rejects with NOT_READY while the region is not loaded here. */
  async take(regionId: number, from: Ownership, late: readonly LoggedRow[]): Promise<number> {
    const held = this.own.held(regionId);
    const { loaded, claim } = held ?? {};
    if (held?.isReady !== true || loaded === undefined || claim === undefined) throw new BinnacleError('NOT_READY', 'the region is not here, or not loaded yet', { retryAfterS: 1 });
    await this.#knownOf(held);
    // Others may have written and uploaded these after that.
    const uploaded = await this.#uploaded.of(held, late.filter(({ version }) => version <= loaded.uploadedBefore).map(({ handle }) => handle));
    const isDirect = nextHandOver(held, from) === held.handOvers.at(-1);
    const changes = late.map((row): RowChange => {
      const key = row.handle.toString('latin1');
      const decide: Extract<RowChange, { decide: unknown }>['decide'] = (current, position) => {
        if (held.isOver) return new BinnacleError('NOT_READY', 'the region has just been given away', { retryAfterS: 1 });
        if (!isNewer(row.version, { key, position, loaded, origins: held.origins, uploaded, isDirect })) return 'keep';
        if (row.document !== undefined) return { put: row.document };
        return current === undefined ? 'keep' : 'delete';
      };
      return { handle: row.handle, decide };
    });
    const results = await this.rows.write(loaded.tableId, changes, { durability: 'fsync' });
    const taken: [key: string, position: number, version: number][] = [];
    for (const [index, result] of results.entries()) {
      if (result instanceof BinnacleError) throw result;
      if (result === 'kept') continue;
      const { handle, version } = late[index] as LoggedRow;
      const key = handle.toString('latin1');
      // Of two former owners the later one counts, whoever comes back first.
      held.origins.set(key, { position: result.version, version });
      taken.push([key, result.version, version]);
    }
    await this.#origins.append(regionId, taken);
    return taken.length;
  }

  /** What is kept about late rows goes with the last of those who may come with some. */
  async forgetLeft(): Promise<void> {
    const awaited = this.own.assigned().filter(({ region }) => region.leftAt !== undefined).map(({ region }) => region.id);
    await this.#uploaded.removeOthers(new Set(awaited.flatMap((id) => this.own.held(id) ?? [])));
    await this.#origins.removeOthers(new Set(awaited));
  }

  #knownOf(held: HeldRegion): Promise<void> {
    const reading = this.#known.get(held) ?? this.#origins.readInto(held.owner.regionId, held.origins);
    this.#known.set(held, reading);
    reading.catch(() => this.#known.delete(held));
    return reading;
  }
}

interface Present {
  readonly key: string;
  /** Of the row, or its delete mark, in the commit log here; 0: there is none. */
  readonly position: number;
  readonly loaded: LoadedRegion;
  readonly origins: Origins;
  /** By handle, of late rows that are not newer than what was uploaded when the region came here. */
  readonly uploaded: ReadonlyMap<string, number>;
  /** The rows are from the owner just before this one. */
  readonly isDirect: boolean;
}

/** Whether a late row is newer than what is here. */
export function isNewer(version: number, { key, position, loaded, origins, uploaded, isDirect }: Present): boolean {
  const origin = origins.get(key);
  if (origin !== undefined && origin.position === position) return version > origin.version;
  // A client wrote it here since.
  if (position > loaded.loadedTo) return false;
  // From the log objects of the owners before, and this process was started again since: the owner just before wrote nothing older than is there.
  if (position > loaded.segmentsEnd) return isDirect;
  return version > loaded.uploadedBefore || version > (uploaded.get(key) ?? 0);
}
