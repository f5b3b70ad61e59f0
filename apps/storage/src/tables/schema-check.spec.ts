import { describe, expect, test } from '@jest/globals';
import { changedFields, parseNewTable, parseTableChanges } from './schema-check.js';
import type { Table } from './schema.js';

const title = { name: 'title', type: 'string' };
const year = { name: 'year', type: 'int32' };

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return (error as Error).message;
  }
  return 'not refused';
}

describe('a new collection', () => {
  test('gets the defaults Typesense has', () => {
    expect(parseNewTable({ name: 'books', fields: [title, year, { name: 'id', type: 'string' }], default_sorting_field: 'year', token_separators: ['-'] })).toEqual({
      name: 'books',
      fields: [
        { name: 'title', type: 'string', optional: false, facet: false, index: true, sort: false },
        { name: 'year', type: 'int32', optional: false, facet: false, index: true, sort: true },
      ],
      defaultSortingField: 'year',
      enableNestedFields: false,
      tokenSeparators: ['-'],
    });
  });

  test('takes what SDKs send along where it changes nothing', () => {
    const field = { ...title, locale: '', infix: false, stem: false, store: true, optional: true };
    expect(parseNewTable({ name: 'a', fields: [field], symbols_to_index: [], metadata: undefined }).fields).toHaveLength(1);
  });

  test.each<[unknown, string]>([
    [null, 'Bad JSON.'],
    [[], 'Bad JSON.'],
    [{}, 'Parameter `name` is required.'],
    [{ name: '' }, 'Parameter `name` must be a non-empty string.'],
    [{ name: 7 }, 'Parameter `name` must be a non-empty string.'],
    [{ name: 'a'.repeat(256) }, 'The name of a collection has at most 255 bytes.'],
    [{ name: 'a\0b' }, 'The name of a collection has no control characters.'],
    [{ name: '__proto__' }, '`__proto__` cannot be the name of a collection.'],
    [{ name: 'a' }, 'Parameter `fields` is required.'],
    [{ name: 'a', fields: [] }, 'The `fields` value should be an array of objects containing `name`, `type` and optionally, `facet` properties.'],
    [{ name: 'a', fields: [7] }, 'Wrong format for `fields`. It should be an array of objects containing `name`, `type`, `optional` and `facet` properties.'],
    [{ name: 'a', fields: [{ name: 'x' }] }, 'Wrong format for `fields`. It should be an array of objects containing `name`, `type`, `optional` and `facet` properties.'],
    [{ name: 'a', fields: [{ ...title, facet: 'yes' }] }, 'The `facet` property of the field `title` should be a boolean.'],
    [{ name: 'a', fields: [{ ...title, drop: true }] }, 'Invalid property `drop` on field `title`: it is allowed only during schema update.'],
    [{ name: 'a', fields: [{ name: 'x', type: 'object' }] }, 'Type `object` or `object[]` can be used only when nested fields are enabled by setting` enable_nested_fields` to true.'],
    [{ name: 'a', fields: [title, title] }, 'There are duplicate field names in the schema.'],
    [{ name: 'a', fields: [title], default_sorting_field: 'x' }, 'Default sorting field is defined as `x` but is not found in the schema.'],
    [{ name: 'a', fields: [title], default_sorting_field: 'title' }, 'Default sorting field `title` must be a single valued numerical field.'],
    [{ name: 'a', fields: [{ ...year, optional: true }], default_sorting_field: 'year' }, 'Default sorting field `year` cannot be an optional field.'],
    [{ name: 'a', fields: [title], enable_nested_fields: 'yes' }, '`enable_nested_fields` should be a boolean.'],
    [{ name: 'a', fields: [title], metadata: 'x' }, 'The `metadata` value should be an object.'],
    [{ name: 'a', fields: [title], metadata: null }, 'The `metadata` value should be an object.'],
    [{ name: 'a', fields: [title], token_separators: ['--'] }, '`token_separators` should be an array of character symbols.'],
    [{ name: 'a', fields: Array.from({ length: 501 }, (_, index) => ({ name: `f${index}`, type: 'string' })) }, 'A collection has at most 500 fields.'],
  ])('%.60j is refused', (body, message) => {
    expect(refusal(() => parseNewTable(body))).toBe(message);
  });

  test.each([
    { name: '.*', type: 'auto' },
    { name: 'x', type: 'auto' },
    { name: 'x', type: 'string*' },
    { ...title, infix: true },
    { ...title, locale: 'ja' },
    { name: 'v', type: 'float[]', num_dim: 3 },
    { ...title, reference: 'other.id' },
    { ...title, embed: { from: ['a'] } },
  ])('what would be ignored in silence is refused with what to do: %j', (field) => {
    expect(refusal(() => parseNewTable({ name: 'a', fields: [field] }))).toMatch(/^Not supported here: .*use Typesense itself\.$/);
  });

  test('a type nobody knows is refused with those there are', () => {
    expect(refusal(() => parseNewTable({ name: 'a', fields: [{ name: 'p', type: 'geopoint' }] }))).toMatch(/^Field `p` has an invalid data type `geopoint`: .*object\[\]\.$/);
  });
});

describe('a change of fields', () => {
  const table = { ...parseNewTable({ name: 'a', fields: [title, year], default_sorting_field: 'year' }), id: 1 } as Table;
  const changed = (fields: unknown) => changedFields(table, parseTableChanges({ fields }, table)).map(({ name, type }) => `${name}:${type}`);

  test('adds, drops, and does both to one field', () => {
    expect(changed([{ name: 'tags', type: 'string[]' }, { name: 'title', drop: true }])).toEqual(['year:int32', 'tags:string[]']);
    expect(changed([{ name: 'title', drop: true }, { name: 'title', type: 'int64' }])).toEqual(['year:int32', 'title:int64']);
  });

  test.each<[unknown, string]>([
    [[title], 'Field `title` is already part of the schema: To change this field, drop it first before adding it back to the schema.'],
    [[{ name: 'x', drop: true }], 'Field `x` is not part of collection schema.'],
    [[{ name: 'title', drop: 1 }], 'Field `title` must have a drop value of `true`.'],
    [[{ name: 'year', drop: true }], 'Field `year` is the default sorting field and cannot be dropped.'],
    [[{ name: 'year', drop: true }, { name: 'year', type: 'string' }], 'Default sorting field `year` must be a single valued numerical field.'],
    [[], 'The `fields` value should be an array of objects containing the field `name` and other properties.'],
    ['x', 'The `fields` value should be an array of objects containing the field `name` and other properties.'],
  ])('%j is refused', (fields, message) => {
    expect(refusal(() => changed(fields))).toBe(message);
  });

  test('may come with metadata, or be nothing else', () => {
    expect(parseTableChanges({ metadata: { batch: 7 } }, table)).toEqual({ dropped: [], added: [], metadata: { batch: 7 } });
    expect(parseTableChanges({ metadata: {}, fields: [{ name: 'title', drop: true }] }, table)).toEqual({ dropped: ['title'], added: [], metadata: {} });
  });

  test.each<[unknown, string]>([
    [[], 'Bad JSON.'],
    [{}, 'Alter payload is empty.'],
    [{ name: 'b' }, 'Only `fields` and `metadata` can be updated at the moment.'],
    [{ fields: [{ name: 'title', drop: true }], default_sorting_field: 'x' }, 'Only `fields` and `metadata` can be updated at the moment.'],
    [{ metadata: [] }, 'The `metadata` value should be an object.'],
  ])('%j is no change', (body, message) => {
    expect(refusal(() => parseTableChanges(body, table))).toBe(message);
  });
});
