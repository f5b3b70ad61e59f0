import type { Filter, FieldFilter, ValueTest } from './filter.js';
import { columnOf, type Column, type TableLayout } from './table-layout.js';
import { matchText } from './match-text.js';

export type SqlValue = string | number | bigint | Buffer;

/** A condition on a row of the table's columns. Whatever a client wrote is in the parameters. */
export interface SqlCondition {
  readonly sql: string;
  readonly parameters: readonly SqlValue[];
}

const never: SqlCondition = { sql: '0', parameters: [] };

/** Undefined for a filter that every row passes. */
export function filterSql(filter: Filter, layout: TableLayout): SqlCondition | undefined {
  if (filter.kind === 'all') return undefined;
  if (filter.kind === 'field') return fieldSql(filter, layout);
  const left = filterSql(filter.left, layout);
  const right = filterSql(filter.right, layout);
  if (left === undefined || right === undefined) return filter.kind === 'or' ? undefined : (left ?? right);
  return joined([left, right], filter.kind === 'and' ? ' AND ' : ' OR ');
}

function fieldSql({ field, negated, tests }: FieldFilter, layout: TableLayout): SqlCondition {
  const condition = joined(field === 'id' ? tests.map(idTest) : columnTests(tests, columnOf(layout, field), layout), ' OR ');
  // A row without a value makes the condition null, and is in where the filter is negated.
  return negated ? { sql: `(${condition.sql}) IS NOT TRUE`, parameters: condition.parameters } : condition;
}

function columnTests(tests: readonly ValueTest[], column: Column, layout: TableLayout): SqlCondition[] {
  const words = tests.filter((test) => test.kind === 'words');
  const others = tests.filter((test) => test.kind !== 'words');
  const conditions = words.map((test) => wordsTest(test, column, layout));
  if (others.length === 0) return conditions;
  if (!column.isArray) return [...conditions, ...valueTests(others, column.sql)];
  const { sql, parameters } = joined(valueTests(others, 'value'), ' OR ');
  return [...conditions, { sql: `EXISTS (SELECT 1 FROM json_each(${column.sql}) WHERE ${sql})`, parameters }];
}

/** Many equal values become one list: a chain of a hundred ORs is compared one by one, a list is looked up. */
function valueTests(tests: readonly ValueTest[], value: string): SqlCondition[] {
  const equal = tests.map(equalTo).filter((one) => one !== undefined);
  const list = equal.length > 0 ? [{ sql: `${value} IN (${equal.map(() => '?').join(', ')})`, parameters: equal }] : [];
  return [...list, ...tests.filter((test) => equalTo(test) === undefined).map((test) => valueTest(test, value))];
}

function equalTo(test: ValueTest): SqlValue | undefined {
  if (test.kind === 'exact') return test.text;
  if (test.kind === 'bool') return test.value ? 1 : 0;
  return test.kind === 'compare' && test.comparison === '=' ? test.number : undefined;
}

function valueTest(test: ValueTest, value: string): SqlCondition {
  if (test.kind === 'compare') return { sql: `${value} ${test.comparison} ?`, parameters: [test.number] };
  if (test.kind === 'range') return { sql: `${value} BETWEEN ? AND ?`, parameters: [test.from, test.to] };
  if (test.kind !== 'beginning') throw new Error(`no such test of a column: ${test.kind}`);
  // No text that begins with these characters sorts behind the highest character after them.
  return { sql: `${value} BETWEEN ? AND ?`, parameters: [test.text, `${test.text}\u{10ffff}\u{10ffff}`] };
}

function wordsTest({ text, prefix }: Extract<ValueTest, { kind: 'words' }>, column: Column, layout: TableLayout): SqlCondition {
  // A bare `*`: whatever has a value.
  if (prefix && text.trim() === '') return { sql: `${column.sql} IS NOT NULL`, parameters: [] };
  const match = matchText([column], text, prefix);
  if (match === undefined) return never;
  return { sql: `version IN (SELECT rowid FROM ${layout.wordTable} WHERE ${layout.wordTable} MATCH ?)`, parameters: [match] };
}

function idTest(test: ValueTest): SqlCondition {
  if (test.kind === 'exact') return { sql: 'handle = ?', parameters: [Buffer.from(test.text)] };
  if (test.kind !== 'beginning') throw new Error(`no such test of an id: ${test.kind}`);
  if (test.text === '') return { sql: '1', parameters: [] };
  const first = Buffer.from(test.text);
  // 0xff is in no UTF-8 text, so no handle that begins so sorts behind it.
  return { sql: 'handle BETWEEN ? AND ?', parameters: [first, Buffer.concat([first, Buffer.of(0xff)])] };
}

function joined(conditions: readonly SqlCondition[], operator: ' AND ' | ' OR '): SqlCondition {
  if (conditions.length === 1) return conditions[0] as SqlCondition;
  return { sql: `(${conditions.map(({ sql }) => sql).join(operator)})`, parameters: conditions.flatMap(({ parameters }) => parameters) };
}
