import { BinnacleError } from '@binnacle/contracts/errors';
import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { OwnRegions } from '../regions/own-regions.js';
import { writeNodesOf } from '../regions/region.js';
import { RowStore } from '../row-store.js';
import { Catalog } from './catalog.js';
import { checkDocument } from './document-check.js';
import { isJsonObject, parseJson } from './json.js';
import { changedFields, parseTableChanges, type FieldChanges, type TableChanges } from './schema-check.js';
import type { Field, Table } from './schema.js';

/** Documents are read for that long at most before others get their turn. */
const sliceMsMax = 8;

/** Another node reads all its documents of the table for an answer. */
const fitTimeoutMs = 600_000;
/** Every node has a change of the catalog within a second. */
const schemaWaitMs = 5_000;

/** Whether the documents of another node fit fields that are about to be added, or, from a schema version on, have been. */
export interface FitQuestion {
  readonly fields: readonly Field[];
  /** The node first sees to it that every write is checked against this schema. */
  readonly schemaVersion?: number;
}

/** What is wrong with the first document that does not fit, in Typesense's words; absent: all is well. */
export interface Fit {
  readonly misfit?: string;
}

/** Changes the fields of tables. The documents are read by the nodes that hold them. */
@Injectable()
export class SchemaChange {
  readonly #underWay = new Set<number>();

  constructor(
    private readonly catalog: Catalog,
    private readonly rows: RowStore,
    private readonly node: NodeContext,
    private readonly own: OwnRegions,
    private readonly agents: AgentClient,
  ) {}

  /** Ids of the tables that are being changed now. */
  underWay(): ReadonlySet<number> {
    return this.#underWay;
  }

  /**
   * Rejects with BAD_REQUEST in Typesense's words, also when a document that is there does not fit an added field, and with CONFLICT while
   * another change of the table runs. Added fields are checked twice: before they are in the schema, so that a misfit changes nothing, and
   * for what was written meanwhile.
   */
  async apply(table: Table, body: unknown): Promise<TableChanges> {
    if (this.#underWay.has(table.id)) throw new BinnacleError('CONFLICT', 'Another collection update operation is in progress.');
    this.#underWay.add(table.id);
    try {
      const changes = parseTableChanges(body, table);
      if (changes.added.length + changes.dropped.length > 0) await this.#changeFields(table, changes);
      if (changes.metadata !== undefined) await this.catalog.setMetadata(table.id, changes.metadata);
      return changes;
    } finally {
      this.#underWay.delete(table.id);
    }
  }

  async #changeFields(table: Table, changes: FieldChanges): Promise<void> {
    changedFields(table, changes);
    await this.#checkEverywhere(table, changes.added);
    const changed = await this.catalog.alter(table.id, (current) => changedFields(current, changes));
    try {
      await this.#checkEverywhere(changed, changes.added, changed.schemaVersion);
    } catch (error) {
      await this.catalog.alter(table.id, () => table.fields);
      throw error;
    }
  }

  /** For the node that changes the table. */
  async fitHere(tableId: number, { fields, schemaVersion }: FitQuestion): Promise<Fit> {
    try {
      await this.#check(tableId, fields, schemaVersion);
      return {};
    } catch (error) {
      if (error instanceof BinnacleError && error.code === 'BAD_REQUEST') return { misfit: error.message };
      throw error;
    }
  }

  async #checkEverywhere(table: Table, added: readonly Field[], schemaVersion?: number): Promise<void> {
    if (added.length === 0) return;
    await Promise.all(writeNodesOf(table).map((nodeId) => (nodeId === this.node.id ? this.#check(table.id, added, schemaVersion) : this.#checkAt(nodeId, table, added, schemaVersion))));
  }

  async #checkAt(nodeId: string, table: Table, fields: readonly Field[], schemaVersion?: number): Promise<void> {
    const record = this.node.directory.byId(nodeId);
    if (record === undefined) throw new BinnacleError('NO_TARGET', `Node ${nodeId}, which holds a part of collection \`${table.name}\`, is away.`, { retryAfterS: 1 });
    const question: FitQuestion = { fields, ...(schemaVersion !== undefined && { schemaVersion }) };
    const { status, body } = await this.agents.request(record, { method: 'POST', path: `/agent/v1/tables/${table.id}/fit`, body: question, timeoutMs: fitTimeoutMs });
    if (status !== 200) throw new BinnacleError('UPSTREAM_UNREACHABLE', `Node ${nodeId} could not check its documents.`);
    const { misfit: reason } = body as Fit;
    if (reason !== undefined) throw new BinnacleError('BAD_REQUEST', reason);
  }

  /** Every write decided after this is checked against that schema; those before are there to be read. */
  async #settle(tableId: number, schemaVersion: number): Promise<void> {
    if (!(await this.catalog.hasSchema(tableId, schemaVersion, schemaWaitMs))) {
      throw new BinnacleError('NOT_READY', 'The schema has not arrived here yet.', { retryAfterS: 1 });
    }
    await this.rows.write(tableId, [{ handle: Buffer.from('id'), decide: () => 'keep' }], { durability: 'none' });
  }

  async #check(tableId: number, added: readonly Field[], schemaVersion?: number): Promise<void> {
    if (schemaVersion !== undefined) await this.#settle(tableId, schemaVersion);
    const table = this.catalog.byId(tableId);
    if (table === undefined) throw new BinnacleError('NOT_FOUND', 'Collection not found');
    // Rows that are still being loaded are not seen below.
    const refusal = this.own.refusalOfAny(table);
    if (refusal !== undefined) throw refusal;
    const checked = { fields: added, defaultSortingField: table.defaultSortingField, enableNestedFields: table.enableNestedFields };
    let sliceEndsAtMs = performance.now() + sliceMsMax;
    for await (const { handle, document } of this.rows.scan(table.id)) {
      if (!this.own.isOwn(table, handle)) continue;
      const parsed = parseJson(document.toString());
      if (!isJsonObject(parsed)) continue;
      try {
        checkDocument(checked, parsed);
      } catch (error) {
        throw misfit(error, added);
      }
      if (performance.now() < sliceEndsAtMs) continue;
      await nextTurn();
      sliceEndsAtMs = performance.now() + sliceMsMax;
    }
  }
}

function misfit(error: unknown, added: readonly Field[]): unknown {
  if (!(error instanceof BinnacleError)) return error;
  const field = added.find(({ name }) => error.message.includes(`\`${name}\``));
  if (field === undefined) return error;
  const { name, type } = field;
  if (error.message.includes('is not found in the document')) {
    const found = 'but is not found in the documents already present in the collection';
    return new BinnacleError('BAD_REQUEST', `Field \`${name}\` has been declared in the schema, ${found}. If you still want to add this field, set it as \`optional: true\`.`);
  }
  const reason = `Existing data for field \`${name}\` cannot be coerced into ${type.startsWith('i') || type.startsWith('o') ? 'an' : 'a'} ${type}.`;
  return new BinnacleError('BAD_REQUEST', `Schema change is incompatible with the type of documents already stored in this collection. ${reason}`);
}
