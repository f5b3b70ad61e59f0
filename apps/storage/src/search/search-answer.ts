import { BinnacleError } from '@binnacle/contracts/errors';
import type { ResultRow } from './index-messages.js';
import { isEverything, type SearchQuery } from './search-query.js';
import type { Column } from './table-layout.js';

/** Documents of one page; they are in memory as a whole. */
const pageBytesMax = 64 * 2 ** 20;

export interface SearchResult {
  readonly collection: string;
  readonly hits: readonly { readonly document: Buffer; readonly textMatch: number }[];
  readonly found: number;
  readonly outOf: number;
  readonly facets: readonly FacetResult[];
  readonly tookMs: number;
}

/** `counts`: rows of value as text, count. `stats`: min, max, average, sum, distinct values. */
export interface FacetResult {
  readonly column: Column;
  readonly counts: readonly ResultRow[];
  readonly stats: ResultRow;
}

/** What Typesense answers, as JSON text. Throws BAD_REQUEST when the documents are too large together. */
export function searchBody(query: SearchQuery, { collection, hits, found, outOf, facets, tookMs }: SearchResult): Buffer {
  const bytes = hits.reduce((sum, { document }) => sum + document.length, 0);
  if (bytes > pageBytesMax) {
    throw new BinnacleError('BAD_REQUEST', `The documents of this page have ${bytes} bytes, more than ${pageBytesMax}: ask for fewer with \`per_page\`.`);
  }
  const { q, page, offset, perPage } = query;
  const head = JSON.stringify({ facet_counts: facets.map(facetCounts), found }).slice(0, -1);
  const tail = JSON.stringify({
    out_of: outOf,
    ...(page === undefined ? { offset } : { page }),
    request_params: { collection_name: collection, first_q: q, per_page: perPage, q },
    // A search that takes too long is refused as a whole.
    search_cutoff: false,
    search_time_ms: Math.round(tookMs),
  }).slice(1);
  const parts: Buffer[] = [Buffer.from(`${head},"hits":[`)];
  for (const [index, { document, textMatch }] of hits.entries()) {
    parts.push(Buffer.from(`${index === 0 ? '' : ','}{"document":`), document);
    parts.push(Buffer.from(`,"highlight":{},"highlights":[]${isEverything(q) ? '' : `,"text_match":${textMatch}`}}`));
  }
  parts.push(Buffer.from(`],${tail}`));
  return Buffer.concat(parts);
}

function facetCounts({ column: { field, type }, counts, stats: [min, max, avg, sum, distinct] }: FacetResult): object {
  const shown = (value: unknown): string => {
    if (type.startsWith('bool')) return String(value === '1');
    // As JSON has it: SQLite says 3.0.
    return String(type.startsWith('float') ? Number(value) : value);
  };
  return {
    counts: counts.map(([value, count]) => ({ count, highlighted: shown(value), value: shown(value) })),
    field_name: field,
    sampled: false,
    stats: { ...(/^(int|float)/.test(type) && min !== null && { avg, max, min, sum }), total_values: distinct },
  };
}
