import { expect, test } from '@jest/globals';
import { DatabaseSync } from 'node:sqlite';
import { tableOf } from '../../test/testable-search.js';
import { documentColumns } from './document-columns.js';
import { FilterMatch } from './filter-match.js';
import { filterSql } from './filter-sql.js';
import { parseFilter } from './filter.js';
import { prepared } from './index-database.js';
import { createTables, layoutOf } from './table-layout.js';

const table = tableOf(1, { name: 'string', tags: 'string[] facet', age: 'int32', big: 'int64', price: 'float', sold: 'bool' });
const layout = layoutOf(table);

let seed = 7;
const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
const oneOf = <T>(values: readonly T[]): T => values[random(values.length)] as T;
const words = ['Bern', 'bern', 'Zürich', 'zurich', 'a-b', 'ab', 'naïve', 'x', ''];
const text = (): string => Array.from({ length: random(4) }, () => oneOf(words)).join(' ');
const number = (): number => random(7) - 3;

function document(id: string): string {
  const fields: [string, unknown][] = [['name', text()], ['tags', [text(), text()].slice(random(3))], ['age', number()], ['big', number()], ['price', number() / 2], ['sold', random(2) === 0]];
  return JSON.stringify({ id, ...Object.fromEntries(fields.filter(() => random(5) > 0)) });
}

function condition(): string {
  const word = oneOf(words.filter((each) => each !== ''));
  return oneOf([
    () => `name:${oneOf(['', '=', '!=', '! '])}${word}${oneOf(['', '*'])}`,
    () => `tags:${oneOf(['', '=', '!='])}[${word}, ${oneOf(['x', 'ab'])}]`,
    () => `${oneOf(['age', 'big', 'price'])}:${oneOf(['', '=', '<', '<=', '>', '>='])}${number()}`,
    () => `age:[${number()}..${number()}, ${number()}]`,
    () => `sold:${oneOf(['', '=', '!='])}${oneOf(['true', 'false'])}`,
    () => `id:${oneOf(['', '!='])}${oneOf(['d1*', 'd17', '*'])}`,
  ])();
}

function filter(depth = 0): string {
  if (depth === 3 || random(3) === 0) return condition();
  return `(${filter(depth + 1)}) ${oneOf(['&&', '||'])} (${filter(depth + 1)})`;
}

test('thousands of documents and filters: a row matches by itself exactly when it does in an index of all', () => {
  const database = new DatabaseSync(':memory:');
  database.exec(createTables(layout));
  const statements = prepared(database, layout);
  const rows = Array.from({ length: 60 }, (_, index) => ({ version: index + 1, handle: Buffer.from(`d${index}`), document: Buffer.from(document(`d${index}`)) }));
  for (const { version, handle, document: bytes } of rows) {
    const { values, words: ofWords } = documentColumns(layout, bytes.toString());
    statements.insertRow.run(version, handle, ...values);
    statements.insertWords?.run(version, ...ofWords);
  }
  let matched = 0;
  for (let round = 0; round < 150; round++) {
    const wanted = filter();
    const parsed = parseFilter(wanted, table);
    const { sql, parameters } = filterSql(parsed, layout) ?? { sql: '1', parameters: [] };
    const expected = database.prepare(`SELECT version FROM ${layout.rowTable} WHERE ${sql} ORDER BY version`).all(...parameters).map(({ version }) => version);
    const match = new FilterMatch(parsed, layout);
    // A version of its own, as a row that has changed has it.
    const found = rows.filter(({ version, ...row }) => match.matches({ ...row, version: version + 1_000 })).map(({ version }) => version);
    match.close();
    expect([wanted, found]).toEqual([wanted, expected]);
    matched += found.length;
  }
  database.close();
  expect(matched).toBeGreaterThan(1_000);
});
