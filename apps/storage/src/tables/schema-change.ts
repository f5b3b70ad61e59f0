import { BinnacleError } from '@binnacle/contracts/errors';
import { Injectable } from '@nestjs/common';
import { RowStore } from '../row-store.js';
import { Catalog } from './catalog.js';
import { checkDocument } from './document-check.js';
import { isJsonObject, parseJson } from './json.js';
import { changedFields, parseTableChanges, type FieldChanges, type TableChanges } from './schema-check.js';
import type { Field, Table } from './schema.js';

/** Documents are read for that long at most before others get their turn. */
const sliceMsMax = 8;

/** Changes the fields of tables whose rows are here. */
@Injectable()
export class SchemaChange {
  readonly #underWay = new Set<number>();

  constructor(
    private readonly catalog: Catalog,
    private readonly rows: RowStore,
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
    await this.#check(table, changes.added);
    await this.catalog.alter(table.id, (current) => changedFields(current, changes));
    try {
      // Every write decided from here on is checked against the changed fields; those before are there to be read once this one is done.
      await this.rows.write(table.id, [{ handle: Buffer.from('id'), decide: () => 'keep' }], { durability: 'none' });
      await this.#check(table, changes.added);
    } catch (error) {
      await this.catalog.alter(table.id, () => table.fields);
      throw error;
    }
  }

  async #check(table: Table, added: readonly Field[]): Promise<void> {
    if (added.length === 0) return;
    const checked = { fields: added, defaultSortingField: table.defaultSortingField, enableNestedFields: table.enableNestedFields };
    let sliceEndsAtMs = performance.now() + sliceMsMax;
    for await (const { document } of this.rows.scan(table.id)) {
      const parsed = parseJson(document.toString());
      if (!isJsonObject(parsed)) continue;
      try {
        checkDocument(checked, parsed);
      } catch (error) {
        throw misfit(error, added);
      }
      if (performance.now() < sliceEndsAtMs) continue;
      await new Promise<void>((resolve) => void setImmediate(resolve));
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
