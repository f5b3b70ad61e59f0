import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { bodyObject } from '@binnacle/node-kit/request-body';
import { Controller, Delete, Get, HttpCode, Param, Patch, Post, Query, Req, Res, type RawBodyRequest } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { namesOf, type Query as ParsedQuery } from '../documents/document-query.js';
import { OwnRegions } from '../regions/own-regions.js';
import { Placement } from '../regions/placement.js';
import { RowStore } from '../row-store.js';
import { Catalog } from './catalog.js';
import { collectionView, fieldView } from './collection-view.js';
import { DocumentCounts } from './document-counts.js';
import { parseNewTable } from './schema-check.js';
import { type Fit, type FitQuestion, SchemaChange } from './schema-change.js';
import type { Table } from './schema.js';
import { WriteNodes } from './write-nodes.js';

/** Ids of nodes that are away: how many documents they have is what they told last. */
const countsNotCurrentHeader = 'x-binnacle-counts-not-current';

/** Typesense's `/collections`, which any node answers: what is about rows it asks of their write nodes. */
@Controller()
export class CollectionsController {
  constructor(
    private readonly node: NodeContext,
    private readonly catalog: Catalog,
    private readonly rows: RowStore,
    private readonly writeNodes: WriteNodes,
    private readonly schemaChange: SchemaChange,
    private readonly own: OwnRegions,
    private readonly placement: Placement,
    private readonly counts: DocumentCounts,
  ) {}

  @Post('/collections')
  async create(@Req() request: RawBodyRequest<FastifyRequest>, @Query() query: ParsedQuery): Promise<unknown> {
    const { src_name: source } = query;
    if (source !== undefined) throw new BinnacleError('BAD_REQUEST', 'Not supported here: `src_name`, a collection made after another one.');
    const table = await this.catalog.create(parseNewTable(bodyObject(request)), { place: this.placement.ofNewTable(), idFloor: this.rows.largestTableId() + 1 });
    await this.own.arrived(table);
    return collectionView(table, 0);
  }

  @Get('/collections')
  async list(@Query() query: ParsedQuery, @Res({ passthrough: true }) reply: FastifyReply): Promise<unknown[]> {
    const offset = whole(query, 'offset') ?? 0;
    const limit = whole(query, 'limit') ?? Infinity;
    const excluded = namesOf(query, 'exclude_fields');
    const all = this.catalog.all();
    if (offset > 0 && offset >= all.length) throw new BinnacleError('BAD_REQUEST', 'Invalid offset param.');
    // The youngest first, as Typesense has them.
    const tables = all.toReversed().slice(offset, offset + limit);
    const views = await this.#views(tables, reply);
    return excluded.length === 0 ? views : views.map((view) => Object.fromEntries(Object.entries(view).filter(([name]) => !excluded.includes(name))));
  }

  @Get('/collections/:collection')
  async get(@Param('collection') name: string, @Res({ passthrough: true }) reply: FastifyReply): Promise<unknown> {
    const [view] = await this.#views([await this.catalog.lookUp(name)], reply);
    return view;
  }

  /** The catalog is on every node, so the tables are shown also while those that hold their rows are away. */
  async #views(tables: readonly Table[], reply: FastifyReply): Promise<Record<string, unknown>[]> {
    const { documents, silent } = await this.counts.of(tables);
    if (silent.length > 0) void reply.header(countsNotCurrentHeader, silent.join(','));
    return tables.map((table) => collectionView(table, documents.get(table.id)));
  }

  @Patch('/collections/:collection')
  async update(
    @Param('collection') name: string,
    @Req() request: RawBodyRequest<FastifyRequest>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<unknown> {
    const table = await this.catalog.lookUp(name);
    // One node decides about changes of a table, so that there is one at a time.
    const [{ writeNode } = { writeNode: '' }] = table.regions;
    if (writeNode !== this.node.id) return this.writeNodes.forward(writeNode, table, request, reply, request.rawBody);
    const { dropped, added, metadata } = await this.schemaChange.apply(table, bodyObject(request));
    const fields = [...dropped.map((dropping) => ({ drop: true, name: dropping })), ...added.map(fieldView)];
    return { ...(fields.length > 0 && { fields }), ...(metadata && { metadata }) };
  }

  @Delete('/collections/:collection')
  async drop(@Param('collection') name: string): Promise<unknown> {
    const table = await this.catalog.lookUp(name).catch((error: unknown) => {
      if (!(error instanceof BinnacleError) || error.code !== 'NOT_FOUND') throw error;
      throw new BinnacleError('NOT_FOUND', `No collection with name \`${name}\` found.`);
    });
    const { documents } = await this.counts.of([table]);
    await this.catalog.drop(table);
    return collectionView(table, documents.get(table.id));
  }

  @Get('/operations/schema_changes')
  schemaChanges(): unknown[] {
    const changed = this.catalog.all().filter(({ id }) => this.schemaChange.underWay().has(id));
    return changed.map(({ name }) => ({ collection: name }));
  }

  /** For other nodes: documents by table id, of the tables that have rows here. */
  @Get('/agent/v1/tables/counts')
  ownCounts(): Record<string, number> {
    return Object.fromEntries(this.counts.own());
  }

  /** For the node that changes the fields of a table: whether the rows here fit the fields. */
  @Post('/agent/v1/tables/:table/fit')
  @HttpCode(200)
  async fit(@Param('table') id: string, @Req() request: RawBodyRequest<FastifyRequest>): Promise<Fit> {
    return this.schemaChange.fitHere(Number(id), bodyObject(request) as unknown as FitQuestion);
  }
}

function whole(query: ParsedQuery, name: string): number | undefined {
  const text = query[name];
  if (text === undefined) return undefined;
  if (typeof text !== 'string' || !/^\d{1,9}$/.test(text)) {
    throw new BinnacleError('BAD_REQUEST', `${name === 'limit' ? 'Limit' : 'Offset'} param should be unsigned integer.`);
  }
  return Number(text);
}
