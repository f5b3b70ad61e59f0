import { literal, quoted } from '../remote/document-sql.js';
import type { SegmentColumn } from '../remote/manifest.js';
import type { FieldFilter, Filter, ValueTest } from '../search/filter.js';

/** A filter as a condition on the rows of a table's view; undefined for one that every row passes. Values are literals: of a statement with parameters DuckDB makes no plan. */
export function duckFilter(filter: Filter, columns: readonly SegmentColumn[]): string | undefined {
  if (filter.kind === 'all') return undefined;
  if (filter.kind === 'field') return fieldCondition(filter, columns);
  const left = duckFilter(filter.left, columns);
  const right = duckFilter(filter.right, columns);
  if (left === undefined || right === undefined) return filter.kind === 'or' ? undefined : (left ?? right);
  return `(${left} ${filter.kind === 'and' ? 'AND' : 'OR'} ${right})`;
}

function fieldCondition({ field, negated, tests }: FieldFilter, columns: readonly SegmentColumn[]): string {
  const column = columnNamed(columns, field);
  const condition = `(${tests.map((test) => testOf(test, column)).join(' OR ')})`;
  // A row without a value makes the condition null, and is in where the filter is negated.
  return negated ? `(${condition} IS NOT TRUE)` : condition;
}

export function columnNamed(columns: readonly SegmentColumn[], field: string): SegmentColumn {
  const found = columns.find(({ name }) => name === field);
  if (found === undefined) throw new Error(`the field ${field} is not in the view`);
  return found;
}

function testOf(test: ValueTest, column: SegmentColumn): string {
  const value = quoted(column.column);
  if (test.kind === 'words') return wordsTest(test, column);
  if (!column.type.endsWith('[]')) return valueTest(test, value);
  return `len(list_filter(${value}, lambda v: ${valueTest(test, 'v')})) > 0`;
}

function valueTest(test: Exclude<ValueTest, { kind: 'words' }>, value: string): string {
  switch (test.kind) {
    case 'exact':
      return `${value} = ${literal(test.text)}`;
    case 'beginning':
      return `starts_with(${value}, ${literal(test.text)})`;
    case 'bool':
      return `${value} = ${test.value}`;
    case 'compare':
      return `${value} ${test.comparison} ${numberLiteral(test.number)}`;
    case 'range':
      return `${value} BETWEEN ${numberLiteral(test.from)} AND ${numberLiteral(test.to)}`;
  }
}

function wordsTest({ text, prefix }: Extract<ValueTest, { kind: 'words' }>, column: SegmentColumn): string {
  // A bare `*`: whatever has a value.
  if (prefix && text.trim() === '') return `${quoted(column.column)} IS NOT NULL`;
  const phrases = phrasesOf(text, prefix);
  return phrases.length === 0 ? 'false' : `(${phrases.map((phrase) => `contains(${wordsOf(column)}, ${phrase})`).join(' AND ')})`;
}

function numberLiteral(number: number | bigint): string {
  return typeof number === 'bigint' ? `${number}::BIGINT` : `${number}::DOUBLE`;
}

/** What FTS5's unicode61 takes for a part of a word; the rest separates words. */
const separators = "'[^\\p{L}\\p{N}\\p{Co}]+'";

function folded(text: string): string {
  return `trim(regexp_replace(strip_accents(lower(${text})), ${separators}, ' ', 'g'))`;
}

/** The words of a column, each between two blanks of its own, without case and accents. A list counts as one text. */
export function wordsOf({ column, type }: SegmentColumn): string {
  const text = type.endsWith('[]') ? `array_to_string(${quoted(column)}, chr(10))` : quoted(column);
  return `(' ' || replace(${folded(`coalesce(${text}, '')`)}, ' ', '  ') || ' ')`;
}

/** How many words a column has. */
export function wordCountOf({ column, type }: SegmentColumn): string {
  const text = type.endsWith('[]') ? `array_to_string(${quoted(column)}, chr(10))` : quoted(column);
  return `len(list_filter(string_split(${folded(`coalesce(${text}, '')`)}, ' '), lambda w: w <> ''))`;
}

/** Expressions of what `wordsOf` has to contain, one for each word of the text; of the last one the beginning, if `prefix`. Several words of FTS5 in one of the text's are a phrase. */
export function phrasesOf(text: string, prefix: boolean): string[] {
  const words = text.replaceAll('\0', ' ').split(/\s+/).filter((word) => /[\p{L}\p{N}\p{Co}]/u.test(word));
  return words.map((word, index) => `(' ' || replace(${folded(literal(word))}, ' ', '  ')${prefix && index === words.length - 1 ? '' : " || ' '"})`);
}
