import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import type { FieldType } from '../tables/schema.js';
import { fieldExpressions, literal, plainValues } from './document-sql.js';
import { columnsOf, plainColumn } from './segment-columns.js';

let connection: DuckDBConnection;

beforeAll(async () => {
  connection = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect();
});

afterAll(() => connection.closeSync());

/** What the columns of one document have. */
async function taken(fields: Record<string, FieldType>, document: string): Promise<unknown[]> {
  const columns = columnsOf(Object.entries(fields).map(([name, type]) => ({ name, type })));
  const rows = `(SELECT *, ${plainValues(columns)} AS ${plainColumn} FROM (SELECT ${literal(document)} AS _document))`;
  return (await connection.runAndReadAll(`SELECT ${fieldExpressions(columns).join(', ')} FROM ${rows}`)).getRowsJson()[0] as unknown[];
}

test('values of their type are taken as they are, whole numbers to the last digit', async () => {
  const fields = { s: 'string', i: 'int32', l: 'int64', m: 'int64', f: 'float', b: 'bool', o: 'object' } as const;
  const document = String.raw`{"s":"a\u0000\"é😀","i":-2147483648,"l":9223372036854775807,"m":-9007199254740993,"f":0.1,"b":false,"o":{"x":[1,{"y":null}]}}`;
  expect(await taken(fields, document)).toEqual(['a\0"é😀', -2147483648, '9223372036854775807', '-9007199254740993', 0.1, false, '{"x":[1,{"y":null}]}']);
});

test('values of another type are null, and so are those that do not fit', async () => {
  const fields = { s: 'string', i: 'int32', l: 'int64', f: 'float', b: 'bool', o: 'object', n: 'string' } as const;
  const nothing = [null, null, null, null, null, null, null];
  expect(await taken(fields, '{"s":1,"i":2147483648,"l":9223372036854775808,"f":"1.5","b":1,"o":[1],"n":null}')).toEqual(nothing);
  expect(await taken(fields, '{"s":{},"i":1.5,"l":1e3,"f":true,"b":"true","o":"x"}')).toEqual(nothing);
  expect(await taken(fields, '{}')).toEqual(nothing);
});

test('lists keep what is of their type, and an empty list is not nothing', async () => {
  const fields = { s: 'string[]', l: 'int64[]', e: 'bool[]', o: 'object[]', one: 'string[]', none: 'float[]', no: 'float[]' } as const;
  const document = '{"s":["a",1,"b"],"l":[9223372036854775807,1.5],"e":[],"o":[{"x":1},2],"one":"a","no":"x"}';
  expect(await taken(fields, document)).toEqual([['a', 'b'], ['9223372036854775807'], [], ['{"x":1}'], ['a'], null, null]);
});

test('a path leads through objects and lists of them, unless a field has the dots in its name', async () => {
  const fields = { 'a.b': 'string', 'l.x.y': 'int32[]', 'c.d': 'int32', 'l.x': 'object[]' } as const;
  const document = '{"a":{"b":"deep"},"c.d":7,"c":{"d":8},"l":[{"x":{"y":1}},{"x":[{"y":[2,3]},{"y":"no"}]},4]}';
  expect(await taken(fields, document)).toEqual(['deep', [1, 2, 3], 7, ['{"y":1}', '{"y":[2,3]}', '{"y":"no"}']]);
  expect(await taken(fields, '{"a":[{"b":1},{"b":"second"}]}')).toEqual(['second', null, null, null]);
});

test('names may have anything in them, and a document DuckDB cannot read has no fields', async () => {
  const fields = { "it's \"/~*": 'int32', '$.x': 'int32', '..': 'int32', '/': 'int32', id: 'string', Ähre: 'int32' } as const;
  expect(await taken(fields, String.raw`{"it's \"/~*":1,"$.x":2,"":{"":{"":3}},"/":4,"id":"x","Ähre":5}`)).toEqual([1, 2, 3, 4, 'x', 5]);
  expect(await taken({ s: 'string', 'a.b': 'int32[]' }, String.raw`{"s":"\ud800","a":{"b":[1]}}`)).toEqual([null, null]);
});

test('names that DuckDB does not tell apart get a number, but never one that is another field', () => {
  const named = (...names: string[]): string[] => columnsOf(names.map((name) => ({ name, type: 'string' as const }))).map(({ column }) => column);
  expect(named('a', 'A', '_HANDLE', 'a_2', 'A_3', '_document')).toEqual(['a', 'A_4', '_HANDLE_2', 'a_2', 'A_3', '_document_2']);
});
