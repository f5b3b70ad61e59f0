import { BinnacleError } from '@binnacle/contracts/errors';
import type { FieldType } from '../tables/schema.js';
import { FilterLexer, type Operator, type RawValue } from './filter-lexer.js';

/** What a filter has to know of a table. */
export interface FilterTable {
  readonly fields: readonly { readonly name: string; readonly type: FieldType; readonly index: boolean }[];
}

export type Comparison = '=' | '<' | '<=' | '>' | '>=';

/** A test of one value. A number is a bigint where the field holds whole numbers, so that int64 stays exact. */
export type ValueTest =
  /** The text as a whole, byte for byte. */
  | { readonly kind: 'exact'; readonly text: string }
  /** It begins with the text, byte for byte. */
  | { readonly kind: 'beginning'; readonly text: string }
  /** Every word of the text is a word of the value; `prefix`: the last one may be the beginning of a word. */
  | { readonly kind: 'words'; readonly text: string; readonly prefix: boolean }
  | { readonly kind: 'compare'; readonly comparison: Comparison; readonly number: number | bigint }
  /** Both ends are in. */
  | { readonly kind: 'range'; readonly from: number | bigint; readonly to: number | bigint }
  | { readonly kind: 'bool'; readonly value: boolean };

/** One of the tests holds for the field, or for one of its values where it is an array; `negated`: none does, also for want of a value. */
export interface FieldFilter {
  readonly kind: 'field';
  /** A field of the table, or `id`. */
  readonly field: string;
  readonly negated: boolean;
  readonly tests: readonly ValueTest[];
}

export type Filter =
  | { readonly kind: 'all' }
  | { readonly kind: 'and' | 'or'; readonly left: Filter; readonly right: Filter }
  | FieldFilter;

/** Typesense's limit of a query string, which is where it takes filters from. */
export const filterCharactersMax = 4_000;
/** Tests of one field each. Typesense's limit. */
export const filterOperationsMax = 100;
const depthMax = 50;

/** Reads a `filter_by`. A blank one matches everything. Throws BAD_REQUEST in Typesense's words. */
export function parseFilter(text: string, table: FilterTable): Filter {
  if (text.length > filterCharactersMax) throw refused(`Filter query exceeds max allowed length of ${filterCharactersMax}.`);
  return text.trim() === '' ? { kind: 'all' } : new FilterParser(text, table).parse();
}

class FilterParser {
  readonly #lexer: FilterLexer;
  #operations = 0;

  constructor(
    text: string,
    private readonly table: FilterTable,
  ) {
    this.#lexer = new FilterLexer(text);
  }

  parse(): Filter {
    const filter = this.#expression(0);
    if (!this.#lexer.atEnd()) throw notParsed();
    return filter;
  }

  /** `&&` and `||` bind equally and from the left, as in Typesense; parentheses say otherwise. */
  #expression(depth: number): Filter {
    let left = this.#operand(depth);
    for (;;) {
      const kind = this.#lexer.take('&&') ? 'and' : this.#lexer.take('||') ? 'or' : undefined;
      if (kind === undefined) return left;
      left = { kind, left, right: this.#operand(depth) };
    }
  }

  #operand(depth: number): Filter {
    if (!this.#lexer.take('(')) return this.#condition();
    if (depth === depthMax) throw refused('Could not parse the filter query: too many parentheses.');
    const inner = this.#expression(depth + 1);
    if (!this.#lexer.take(')')) throw refused('Could not parse the filter query: unbalanced parentheses.');
    return inner;
  }

  #condition(): FieldFilter {
    if (++this.#operations > filterOperationsMax) throw refused('`filter_by` has too many operations.');
    const condition = this.#lexer.condition();
    if (condition === undefined) throw notParsed();
    const { name, operator, values, isList } = condition;
    const type = name === 'id' ? 'id' : this.#typeOf(name);
    const negated = operator === '!=' || operator === '!';
    if (isList && values.length === 0) throw fieldError(name, 'Filter value array cannot be empty.');
    return { kind: 'field', field: name, negated, tests: values.map((value) => valueTest(name, type, operator, value, isList)) };
  }

  #typeOf(name: string): FieldType {
    const field = this.table.fields.find((candidate) => candidate.name === name);
    if (field === undefined) throw refused(`Could not find a filter field named \`${name}\` in the schema.`);
    if (!field.index) throw refused(`Field \`${name}\` is marked as a non-indexed field in the schema.`);
    return field.type;
  }
}

function valueTest(name: string, type: FieldType | 'id', operator: Operator, value: RawValue, isList: boolean): ValueTest {
  switch (type) {
    case 'id':
    case 'string':
    case 'string[]':
      return textTest(name, type === 'id', operator, value);
    case 'bool':
    case 'bool[]':
      return boolTest(name, operator, value, isList);
    case 'object':
    case 'object[]':
      throw fieldError(name, 'Unidentified field data type, see docs for supported data types.');
    default:
      return numberTest(name, type, operator, value);
  }
}

function textTest(name: string, isId: boolean, operator: Operator, { text, quoted }: RawValue): ValueTest {
  if (text === '' && !quoted) throw fieldError(name, 'Filter value cannot be empty.');
  if (operator !== '' && operator !== '=' && operator !== '!=' && operator !== '!') throw notParsed();
  const prefix = !quoted && text.endsWith('*');
  const bare = prefix ? text.slice(0, -1) : text;
  if (isId || operator === '=' || operator === '!=') return { kind: prefix ? 'beginning' : 'exact', text: bare };
  return { kind: 'words', text: bare, prefix };
}

function boolTest(name: string, operator: Operator, { text }: RawValue, isList: boolean): ValueTest {
  if (text === '') throw fieldError(name, 'Filter value cannot be empty.');
  const known = operator === '' || operator === '=' || operator === '!=';
  if (known && (text === 'true' || text === 'false')) return { kind: 'bool', value: text === 'true' };
  if (isList) throw refused(`Values of filter field \`${name}\`: must be \`true\` or \`false\`.`);
  throw refused(`Value of filter field \`${name}\` must be \`true\` or \`false\`.`);
}

function numberTest(name: string, type: FieldType, operator: Operator, { text, quoted }: RawValue): ValueTest {
  if (quoted || operator === '!') throw fieldError(name, 'Numerical field has an invalid comparator.');
  const comparison = operator === '' || operator === '!=' ? '=' : operator;
  const dots = comparison === '=' ? text.indexOf('..') : -1;
  if (dots >= 0) {
    return { kind: 'range', from: numberOf(name, type, text.slice(0, dots).trim()), to: numberOf(name, type, text.slice(dots + 2).trim()) };
  }
  if (comparison === '=' && !numberPattern.test(text)) throw fieldError(name, 'Numerical field has an invalid comparator.');
  return { kind: 'compare', comparison, number: numberOf(name, type, text) };
}

const numberPattern = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const wholePattern = /^[+-]?\d+$/;

function numberOf(name: string, type: FieldType, text: string): number | bigint {
  if (type.startsWith('float')) {
    const number = Number(text);
    if (!numberPattern.test(text) || !Number.isFinite(number)) throw fieldError(name, 'Not a float.');
    return number;
  }
  const bits = type.startsWith('int32') ? 32 : 64;
  if (!wholePattern.test(text)) throw fieldError(name, `Not an int${bits}.`);
  const number = BigInt(text.startsWith('+') ? text.slice(1) : text);
  if (BigInt.asIntN(bits, number) === number) return number;
  throw fieldError(name, bits === 32 ? `\`${text}\` exceeds the range of an int32.` : 'Not an int64.');
}

function fieldError(name: string, reason: string): BinnacleError {
  return refused(`Error with filter field \`${name}\`: ${reason}`);
}

function notParsed(): BinnacleError {
  return refused('Could not parse the filter query.');
}

function refused(message: string): BinnacleError {
  return new BinnacleError('BAD_REQUEST', message);
}
