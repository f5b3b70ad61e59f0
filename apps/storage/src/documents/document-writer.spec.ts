import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import { openRows, ownRows, type TestableRows } from '../../test/testable-rows.js';
import type { Catalog } from '../tables/catalog.js';
import type { Field, Table } from '../tables/schema.js';
import type { WriteAction } from './document.js';
import { DocumentWriter } from './document-writer.js';
import type { LargeDocuments } from './large-documents.js';

const folder = mkdtempSync(join(tmpdir(), 'binnacle-writer-'));
const field = (name: string): Field => ({ name, type: 'string', optional: false, facet: false, index: true, sort: false });
let rows: TestableRows;
let table: Table;
/** What the catalog says; the writes of a test are prepared for `table`. */
let now: Table | undefined;
let writer: DocumentWriter;

beforeAll(async () => {
  rows = await openRows(folder);
});

afterAll(async () => {
  await rows.store.stop();
  rmSync(folder, { recursive: true });
});

let id = 0;
beforeEach(() => {
  table = { id: ++id, name: 't', fields: [field('title')], defaultSortingField: '', enableNestedFields: false, schemaVersion: 1 } as unknown as Table;
  now = table;
  writer = new DocumentWriter(ownRows(rows.store, newest), {} as LargeDocuments, { newest } as unknown as Catalog);
});

const newest = (): Table => now ?? gone();

function gone(): never {
  throw new BinnacleError('NOT_FOUND', 'Collection not found');
}

async function write(text: string, action: WriteAction): Promise<string> {
  const [result] = await writer.write(table, [writer.prepareSmall(table, Buffer.from(text), { action, dirtyValues: 'reject' })], { durability: 'none' });
  return result instanceof Error ? result.message : (result?.document.toString() ?? '');
}

test('a document that was checked before a field was added is checked again', async () => {
  now = { ...table, fields: [field('title'), field('author')], schemaVersion: 2 };
  const missing = 'Field `author` has been declared in the schema, but is not found in the document.';
  for (const action of ['create', 'upsert', 'emplace'] as const) expect(await write('{"id":"1","title":"a"}', action)).toBe(missing);
  expect(await write('{"id":"1","title":"a","author":"b"}', 'create')).toBe('{"id":"1","title":"a","author":"b"}');
  expect(await write('{"id":"1","author":null}', 'update')).toBe(missing);
});

test('nothing is written to a table that was dropped meanwhile', async () => {
  now = undefined;
  expect(await write('{"id":"1","title":"a"}', 'upsert')).toBe('Collection not found');
  expect(rows.store.count(table.id)).toBe(0);
});
