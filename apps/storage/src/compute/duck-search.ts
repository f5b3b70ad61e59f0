import { quoted } from '../remote/document-sql.js';
import { documentColumn, type SegmentColumn, versionColumn } from '../remote/manifest.js';
import { isEverything, type SearchQuery, type SortKey } from '../search/search-query.js';
import { columnNamed, duckFilter, phrasesOf, wordCountOf, wordsOf } from './duck-filter.js';

/** The view a search reads, and the table of what it has found. */
export const searchedView = 'searched';
const foundTable = 'found_rows';

/** What bm25 has to know of all rows together. */
export interface WordStatistics {
  readonly rows: number;
  readonly wordsPerRow: number;
  /** Of each word of the search: the rows that have it. */
  readonly rowsWith: readonly number[];
}

/** A Typesense search as statements of DuckDB over a table's view, with the answers of the search index. */
export class DuckSearch {
  readonly #phrases: readonly string[];
  readonly #texts: readonly string[];

  constructor(
    private readonly query: SearchQuery,
    private readonly columns: readonly SegmentColumn[],
    /** Fields that the index has words of. */
    private readonly wordFields: readonly string[],
  ) {
    this.#phrases = isEverything(query.q) ? [] : phrasesOf(query.q, query.prefix);
    this.#texts = query.queryBy.map((field) => wordsOf(columnNamed(columns, field)));
  }

  /** One row of `WordStatistics`; undefined where no row is scored. */
  statisticsSql(): string | undefined {
    if (!this.#isScored()) return undefined;
    const having = this.#phrases.map((_phrase, index) => `count_if(f${index} > 0)`);
    return `SELECT ${['count(*)', 'coalesce(sum(words), 0)::DOUBLE', ...having].join(', ')} FROM (SELECT ${[`${this.#wordCount()} AS words`, ...this.#frequencies()].join(', ')} FROM ${searchedView})`;
  }

  /** The rows found, with all that sorting and counting need. */
  foundSql(statistics: WordStatistics | undefined): string {
    const { filter, sortBy, facetBy } = this.query;
    const conditions = [duckFilter(filter, this.columns), ...this.#wordConditions()].filter((condition) => condition !== undefined);
    const fields = [...new Set([...sortBy.map(({ field }) => field).filter((field) => field !== '_text_match'), ...facetBy])].map((field) => quoted(columnNamed(this.columns, field).column));
    const scored = statistics === undefined ? [] : [`${this.#wordCount()} AS _words`, ...this.#frequencies()];
    const inner = `SELECT ${['id', versionColumn, ...fields, ...scored].join(', ')} FROM ${searchedView}${conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : ''}`;
    return `SELECT ${['id', versionColumn, ...fields, `${statistics === undefined ? '0' : scoreSql(statistics)} AS _score`].join(', ')} FROM (${inner})`;
  }

  static keep(foundSql: string): string {
    return `CREATE TEMP TABLE ${foundTable} AS ${foundSql}`;
  }

  /** Rows of document, score. */
  hitsSql(): string {
    const { perPage, offset, sortBy } = this.query;
    const order = [...sortBy.filter(({ field }) => field !== '_text_match' || this.#isScored()).map((key) => this.#orderOf(key)), `${versionColumn} DESC`, 'id'].join(', ');
    const page = `SELECT id, _score, row_number() OVER (ORDER BY ${order}) AS _place FROM ${foundTable} ORDER BY ${order} LIMIT ${perPage} OFFSET ${offset}`;
    return `SELECT rows.${documentColumn}, page._score FROM (${page}) AS page JOIN ${searchedView} AS rows ON rows.id = page.id ORDER BY page._place`;
  }

  /** One row: found, all. */
  static countsSql(): string {
    return `SELECT (SELECT count(*) FROM ${foundTable}), (SELECT count(*) FROM ${searchedView})`;
  }

  /** For each facet: rows of value as text, count; and one row of minimum, maximum, average, sum, distinct values. */
  facetSql(field: string): { readonly counts: string; readonly stats: string } {
    const { column, type } = columnNamed(this.columns, field);
    const value = type.endsWith('[]') ? `unnest(${quoted(column)})` : quoted(column);
    const from = `(SELECT * FROM (SELECT ${type.startsWith('bool') ? `CAST(${value} AS INTEGER)` : value} AS v FROM ${foundTable}) WHERE v IS NOT NULL)`;
    const numbers = type.startsWith('string') ? 'NULL, NULL, NULL, NULL' : 'min(v)::DOUBLE, max(v)::DOUBLE, avg(v), coalesce(sum(v), 0)::DOUBLE';
    return {
      counts: `SELECT CAST(v AS VARCHAR), count(*) FROM ${from} GROUP BY v ORDER BY count(*) DESC, v LIMIT ${this.query.facetValuesMax}`,
      stats: `SELECT ${numbers}, count(DISTINCT v) FROM ${from}`,
    };
  }

  #isScored(): boolean {
    return this.#phrases.length > 0 && this.query.sortBy.some(({ field }) => field === '_text_match');
  }

  #wordConditions(): string[] {
    if (isEverything(this.query.q)) return [];
    if (this.#phrases.length === 0) return ['false'];
    return this.#phrases.map((phrase) => `(${this.#texts.map((text) => `contains(${text}, ${phrase})`).join(' OR ')})`);
  }

  /** How often each word of the search is in the fields that are searched. */
  #frequencies(): string[] {
    const count = (text: string, phrase: string): string => `(length(${text}) - length(replace(${text}, ${phrase}, ''))) // length(${phrase})`;
    return this.#phrases.map((phrase, index) => `(${this.#texts.map((text) => count(text, phrase)).join(' + ')}) AS f${index}`);
  }

  #wordCount(): string {
    return this.wordFields.map((field) => wordCountOf(columnNamed(this.columns, field))).join(' + ');
  }

  #orderOf({ field, descending }: SortKey): string {
    const value = field === '_text_match' ? '_score' : quoted(columnNamed(this.columns, field).column);
    return `${value} ${descending ? 'DESC' : 'ASC'} NULLS LAST`;
  }
}

/** Okapi BM25 as FTS5 has it: k1 = 1.2, b = 0.75; a word that most rows have counts for next to nothing. */
function scoreSql({ rows, wordsPerRow, rowsWith }: WordStatistics): string {
  const terms = rowsWith.map((having, index) => {
    const idf = Math.log((rows - having + 0.5) / (having + 0.5));
    return `${idf <= 0 ? 1e-6 : idf}::DOUBLE * ((f${index} * 2.2::DOUBLE) / (f${index} + 1.2::DOUBLE * (0.25::DOUBLE + 0.75::DOUBLE * _words / ${Math.max(wordsPerRow, 1e-9)}::DOUBLE)))`;
  });
  return terms.join(' + ');
}
