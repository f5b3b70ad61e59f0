import { describe, expect, test } from '@jest/globals';
import { checkDocument, type CheckedTable, type DirtyValues } from './document-check.js';
import { jsonBytes, parseJson, type JsonObject } from './json.js';
import type { Field, FieldType } from './schema.js';

const field = (name: string, type: FieldType, more: Partial<Field> = {}): Field => ({ name, type, optional: false, facet: false, index: true, sort: false, ...more });
const tableOf = (fields: Field[], more: Partial<CheckedTable> = {}): CheckedTable => ({ fields, defaultSortingField: '', enableNestedFields: true, ...more });

/** The document as it is kept, or what is wrong with it. */
function checked(table: CheckedTable, text: string, dirtyValues: DirtyValues = 'coerce_or_reject', isPatch = false): string {
  const document = parseJson(text) as JsonObject;
  try {
    checkDocument(table, document, { dirtyValues, isPatch });
  } catch (error) {
    return (error as Error).message;
  }
  return jsonBytes(document).toString();
}

describe('one value', () => {
  test.each<[FieldType, string, string]>([
    ['string', '"x"', '"x"'],
    ['string', '7', '"7"'],
    ['string', '9007199254740993', '"9007199254740993"'],
    ['string', 'true', '"true"'],
    ['string', '{}', 'Field `f` must be a string.'],
    ['string', 'null', 'Field `f` must be a string.'],
    ['int32', '2147483647', '2147483647'],
    ['int32', '2147483648', 'Field `f` exceeds maximum value of int32.'],
    ['int32', '-2147483649', 'Field `f` exceeds maximum value of int32.'],
    ['int32', '1.0', '1'],
    ['int32', '1.5', 'Field `f` must be an int32.'],
    ['int32', '"12"', '12'],
    ['int32', '"1e3"', 'Field `f` must be an int32.'],
    ['int32', '""', 'Field `f` must be an int32.'],
    ['int32', 'true', '1'],
    ['int64', '9223372036854775807', '9223372036854775807'],
    ['int64', '9223372036854775808', 'Field `f` must be an int64.'],
    ['float', '1', '1'],
    ['float', '"1.25"', '1.25'],
    ['float', '"x"', 'Field `f` must be a float.'],
    ['bool', 'false', 'false'],
    ['bool', '"true"', 'true'],
    ['bool', '2', 'Field `f` must be a bool.'],
    ['object', '{"a":1}', '{"a":1}'],
    ['object', '[]', 'Field `f` must be an object.'],
    ['object', '12345678901234567890', 'Field `f` must be an object.'],
    ['string[]', '["a",1]', '["a","1"]'],
    ['string[]', '"a"', 'Field `f` must be an array.'],
    ['int32[]', '[1,"x"]', 'Field `f` must be an array of int32.'],
    ['object[]', '[{}]', '[{}]'],
    ['object[]', '[1]', 'Field `f` must be an array of object.'],
  ])('for %s, %s', (type, value, outcome) => {
    const kept = checked(tableOf([field('f', type)]), `{"f":${value}}`);
    expect(kept).toBe(outcome.startsWith('Field') ? outcome : `{"f":${outcome}}`);
  });

  test.each<[DirtyValues, string]>([
    ['reject', 'Field `f` must be an int32.'],
    ['drop', '{"a":1}'],
    ['coerce_or_drop', '{"f":5,"a":1}'],
    ['coerce_or_reject', '{"f":5,"a":1}'],
  ])('of the wrong type with %s', (dirtyValues, outcome) => {
    expect(checked(tableOf([field('f', 'int32', { optional: true })]), '{"f":"5","a":1}', dirtyValues)).toBe(outcome);
  });

  test('that cannot be coerced is dropped from an optional field alone, and from an array only itself', () => {
    const optional = { optional: true };
    const table = tableOf([field('a', 'int32', optional), field('b', 'int32[]', optional)]);
    expect(checked(table, '{"a":"x","b":[1,"x",2,[]]}', 'coerce_or_drop')).toBe('{"b":[1,2]}');
    expect(checked(tableOf([field('a', 'int32')]), '{"a":"x"}', 'coerce_or_drop')).toBe('Field `a` must be an int32.');
  });
});

describe('absent fields', () => {
  const table = tableOf([field('a', 'string'), field('b', 'int32', { optional: true })]);

  test('are refused unless they are optional, or the document is a patch', () => {
    expect(checked(table, '{}')).toBe('Field `a` has been declared in the schema, but is not found in the document.');
    expect(checked(table, '{"a":""}')).toBe('{"a":""}');
    expect(checked(table, '{}', 'reject', true)).toBe('{}');
    expect(checked(tableOf([field('a', 'int32')], { defaultSortingField: 'a' }), '{}')).toBe(
      'Field `a` has been declared as a default sorting field, but is not found in the document.',
    );
  });

  test('null counts as absent where the field is optional; in a patch it stays, to remove the field', () => {
    expect(checked(table, '{"a":"","b":null,"other":null}')).toBe('{"a":"","other":null}');
    expect(checked(table, '{"b":null}', 'reject', true)).toBe('{"b":null}');
    expect(checked(table, '{"a":null}', 'reject', true)).toBe('Field `a` must be a string.');
  });

  test('are not taken for what every object of JavaScript has', () => {
    expect(checked(tableOf([field('constructor', 'string'), field('toString', 'string', { optional: true })]), '{}')).toBe(
      'Field `constructor` has been declared in the schema, but is not found in the document.',
    );
  });
});

describe('nested fields', () => {
  const table = tableOf([field('a.b', 'int32'), field('c.d', 'string[]', { optional: true })]);

  test('are found inside objects, and inside the objects of arrays', () => {
    expect(checked(table, '{"a":{"b":"1"},"c":[{"d":1},{"d":["x"]},{}]}')).toBe('{"a":{"b":1},"c":[{"d":"1"},{"d":["x"]},{}]}');
    expect(checked(table, '{"a":{"b":{}}}')).toBe('Field `a.b` must be an int32.');
    expect(checked(table, '{"a":5}')).toBe('Field `a.b` has been declared in the schema, but is not found in the document.');
  });

  test('may be written with their dots', () => {
    expect(checked(table, '{"a.b":"1"}')).toBe('{"a.b":1}');
  });

  test('have to be arrays where they can come several times', () => {
    expect(checked(table, '{"a":[{"b":1}]}')).toBe(
      'Field `a.b` has an incorrect type. Hint: field inside an array of objects must be an array type as well.',
    );
  });

  test('are names like any other where the table has none', () => {
    const plain = tableOf([field('a.b', 'int32')], { enableNestedFields: false });
    expect(checked(plain, '{"a":{"b":1}}')).toBe('Field `a.b` has been declared in the schema, but is not found in the document.');
    expect(checked(plain, '{"a.b":1}')).toBe('{"a.b":1}');
  });
});

test('a large array of values that are dropped is gone through once', () => {
  const table = tableOf([field('a', 'int32[]', { optional: true })]);
  const startedAtMs = performance.now();
  expect(checked(table, `{"a":[${'"x",'.repeat(60_000)}1]}`, 'drop')).toBe('{"a":[1]}');
  expect(performance.now() - startedAtMs).toBeLessThan(1_000);
});
