import { describe, expect, test } from '@jest/globals';
import type { CheckedTable } from '../tables/document-check.js';
import { newDocument, parseDocument, patchedDocument, projectedDocument, type WriteAction } from './document.js';
import { checkNesting } from './large-document-job.js';

const table: CheckedTable = {
  fields: [
    { name: 'title', type: 'string', optional: false, facet: false, index: true, sort: false },
    { name: 'year', type: 'int32', optional: true, facet: false, index: true, sort: true },
  ],
  defaultSortingField: '',
  enableNestedFields: false,
};

const request = (action: WriteAction, id?: string) => ({ action, dirtyValues: 'reject', ...(id !== undefined && { id }) }) as const;
const parse = (text: string | Buffer, action: WriteAction, id?: string) => parseDocument(table, Buffer.from(text), request(action, id));

describe('a document', () => {
  test.each<[string | Buffer, string]>([
    ['[]', 'Bad JSON: not a properly formed document.'],
    ['"x"', 'Bad JSON: not a properly formed document.'],
    ['12345678901234567890', 'Bad JSON: not a properly formed document.'],
    [Buffer.from([0x7b, 0xff, 0x7d]), 'Bad JSON: it is not valid UTF-8.'],
    ['{"id":7,"title":""}', "Document's `id` field should be a string."],
    ['{"id":"","title":""}', 'The `id` should not be empty.'],
    ['{"title":7}', 'Field `title` must be a string.'],
  ])('%s is refused', (text, message) => {
    expect(() => parse(text, 'create')).toThrow(message);
  });

  test('without an id gets one, but for an update', () => {
    expect(parse('{"title":"a"}', 'upsert').document.id).toMatch(/^[0-9a-f-]{36}$/);
    expect(() => parse('{"title":"a"}', 'update')).toThrow('For update, the `id` key must be provided.');
  });

  test('may repeat the id of its path, not contradict it', () => {
    expect(parse('{"id":"a"}', 'update', 'a').id).toBe('a');
    expect(parse('{}', 'update', 'a').document).toEqual({ id: 'a' });
    expect(() => parse('{"id":"b"}', 'update', 'a')).toThrow('The `id` of the resource does not match the `id` in the JSON body.');
  });

  test('emplaced where there is none has to be whole, and its nulls are nothing', () => {
    const whole = (text: string) => newDocument(table, parse(text, 'emplace'), request('emplace')).toString();
    expect(whole('{"id":"a","title":"t","year":null,"other":null}')).toBe('{"id":"a","title":"t"}');
    expect(() => whole('{"id":"a","year":1}')).toThrow('Field `title` has been declared in the schema');
  });

  test('patched stays a document of its table', () => {
    const patched = (patch: string) => patchedDocument(table, parse(patch, 'update'), Buffer.from('{"id":"a","title":"t","year":1,"n":12345678901234567890}')).toString();
    expect(patched('{"id":"a","year":null,"x":{"y":1}}')).toBe('{"id":"a","title":"t","n":12345678901234567890,"x":{"y":1}}');
    expect(() => patched('{"id":"a","title":null}')).toThrow('Field `title` must be a string.');
  });
});

test.each<[string[], string[], string]>([
  [[], [], '{"a":1,"b":{"c":2,"d":[{"e":3,"f":4}]}}'],
  [['a'], [], '{"a":1}'],
  [['b.c', 'b.d.f', 'x'], [], '{"b":{"c":2,"d":[{"f":4}]}}'],
  [[], ['a', 'b.d.e'], '{"b":{"c":2,"d":[{"f":4}]}}'],
  [['b'], ['b.c'], '{"b":{"d":[{"e":3,"f":4}]}}'],
])('with the fields %j, without %j', (include, exclude, shown) => {
  expect(projectedDocument(Buffer.from('{"a":1,"b":{"c":2,"d":[{"e":3,"f":4}]}}'), include, exclude).toString()).toBe(shown);
});

test('nesting is found before anything is parsed, and brackets in texts are none', () => {
  expect(() => checkNesting(Buffer.from('['.repeat(101)))).toThrow('nests deeper');
  expect(() => checkNesting(Buffer.from(JSON.stringify({ text: `\\"${'['.repeat(500)}`, list: [[1]] })))).not.toThrow();
});
