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
import { collectionView } from './collection-view.js';
import { parseNewTable } from './schema-check.js';
import { DocumentCounts } from './document-counts.js';
import { type Fit, type FitQuestion, SchemaChange } from './schema-change.js';
import { WriteNodes } from './write-nodes.js';

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
  async list(@Query() query: ParsedQuery): Promise<unknown[]> {
    const offset = whole(query, 'offset') ?? 0;
    const limit = whole(query, 'limit') ?? Infinity;
    const excluded = namesOf(query, 'exclude_fields');
    // The youngest first, as Typesense has them.
    const tables = this.catalog.all().toReversed().slice(offset, offset + limit);
    const counts = await this.counts.ofAll(tables);
    const views = tables.map((table) => collectionView(table, counts.get(table.id) ?? 0));
    return excluded.length === 0 ? views : views.map((view) => Object.fromEntries(Object.entries(view).filter(([name]) => !excluded.includes(name))));
  }

  @Get('/collections/:collection')
  async get(@Param('collection') name: string): Promise<unknown> {
    const table = await this.catalog.lookUp(name);
    return collectionView(table, await this.counts.of(table));
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
    const body = bodyObject(request);
    await this.schemaChange.apply(table, body);
    return body;
  }

  @Delete('/collections/:collection')
  async drop(@Param('collection') name: string): Promise<unknown> {
    const table = await this.catalog.lookUp(name).catch((error: unknown) => {
      if (!(error instanceof BinnacleError) || error.code !== 'NOT_FOUND') throw error;
      throw new BinnacleError('NOT_FOUND', `No collection with name \`${name}\` found.`);
    });
    const documents = await this.counts.of(table);
    await this.catalog.drop(table);
    return collectionView(table, documents);
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
