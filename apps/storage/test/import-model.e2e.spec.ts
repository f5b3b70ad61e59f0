import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { systemClock } from '@binnacle/cluster-state/clock';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { DocumentWriter } from '../src/documents/document-writer.js';
import type { WriteAction } from '../src/documents/document.js';
import { ImportResults } from '../src/documents/import-results.js';
import { Import } from '../src/documents/import.js';
import { LargeDocuments } from '../src/documents/large-documents.js';
import type { Catalog } from '../src/tables/catalog.js';
import { mergePatch, type Json, type JsonObject } from '../src/tables/json.js';
import type { Table } from '../src/tables/schema.js';
import { openRows, ownRows, type TestableRows } from './testable-rows.js';

const folder = mkdtempSync(join(tmpdir(), 'binnacle-model-'));
let rows: TestableRows;
let large: LargeDocuments;

beforeAll(async () => {
  rows = await openRows(folder);
  large = new LargeDocuments({ clock: systemClock, addPart: () => undefined } as unknown as NodeContext);
});

afterAll(async () => {
  await large.stop();
  await rows.store.stop();
  rmSync(folder, { recursive: true });
});

/** Deterministic, so that a failure can be had again by its seed. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A line, and what it says if it is a document at all. */
interface Line {
  readonly bytes: string;
  readonly document: JsonObject | undefined;
}

function lineOf(random: (below: number) => number): Line {
  const kind = random(12);
  if (kind === 0) return { bytes: '{"id":"1"', document: undefined };
  const document: JsonObject = { id: String(random(6)) };
  if (kind !== 1) document.title = `t${random(1_000)}`;
  if (kind === 2) document.year = null;
  if (kind > 5) document.year = random(3_000);
  // Some are large, some become large by a patch, so that both ways of patching meet.
  if (kind === 3 && random(3) === 0) document.text = 'x'.repeat(70_000 + random(300_000));
  if (kind === 4) document.text = null;
  if (kind === 5) document.inner = { [`k${random(4)}`]: random(2) === 0 ? null : random(10) };
  return { bytes: JSON.stringify(document), document };
}

/** What a client reads in the documentation, one line after the other. */
class Model {
  readonly documents = new Map<string, Json>();

  apply(action: WriteAction, { document }: Line): boolean {
    if (document === undefined) return false;
    const id = document.id as string;
    const current = this.documents.get(id);
    if (action === 'create' && current !== undefined) return false;
    if (action === 'update' && current === undefined) return false;
    const isPatch = action === 'update' || action === 'emplace';
    const next = (isPatch ? mergePatch(current ?? {}, document) : withoutNullYear(document)) as JsonObject;
    if (typeof next.title !== 'string') return false;
    this.documents.set(id, next);
    return true;
  }
}

/** A null in an optional field of the schema is no value. */
function withoutNullYear({ year, ...rest }: JsonObject): JsonObject {
  return year === null || year === undefined ? rest : { ...rest, year };
}

const field = (name: string, type: 'string' | 'int32', optional: boolean) => ({ name, type, optional, facet: false, index: true, sort: false });

test.each(Array.from({ length: 24 }, (_, seed) => seed))(
  'an import does what its lines say, one after the other (seed %i)',
  async (seed) => {
    const random = randomOf(seed + 1);
    const table = {
      id: seed + 1,
      name: 't',
      fields: [field('title', 'string', false), field('year', 'int32', true)],
      defaultSortingField: '',
      enableNestedFields: false,
    } as unknown as Table;
    const model = new Model();
    const actions = ['create', 'upsert', 'update', 'emplace'] as const;
    for (let round = 0; round < 4; round++) {
      const action = actions[random(4)] as WriteAction;
      const lines = Array.from({ length: 1 + random(60) }, () => lineOf(random));
      const expected = lines.map((line) => model.apply(action, line));
      const results = new ImportResults(systemClock);
      const options = { request: { action, dirtyValues: 'reject' }, batchSize: 1 + random(8), returnDocument: false, returnId: false, durability: 'none' } as const;
      const failures: unknown[] = [];
      const writer = new DocumentWriter(ownRows(rows.store, () => table), large, { newest: () => table } as unknown as Catalog);
      const body = lines.map(({ bytes }) => bytes).join(random(2) === 0 ? '\n' : '\r\n');
      const chunkBytes = 1 + random(200_000);
      const chunks = Array.from({ length: Math.ceil(body.length / chunkBytes) }, (_, index) => Buffer.from(body.slice(index * chunkBytes, (index + 1) * chunkBytes)));
      const [told] = await Promise.all([text(results), new Import(writer, () => table, options, results, (error) => failures.push(error)).run(Readable.from(chunks))]);
      expect(failures).toEqual([]);
      expect(told.split('\n').map((line) => (JSON.parse(line) as { success: boolean }).success)).toEqual(expected);
    }
    const kept = new Map<string, unknown>();
    for await (const { handle, document } of rows.store.scan(table.id)) kept.set(handle.toString(), JSON.parse(document.toString()));
    expect(Object.fromEntries(kept)).toEqual(Object.fromEntries(model.documents));
    expect(rows.store.count(table.id)).toBe(model.documents.size);
  },
);
