import type { LogOperation } from '../log/log-record.js';

/*
 * Rows on their way from a write node to a compute node, which DuckDB reads as they are: a line a row of
 *
 *   version in the log of the write node | \x01 | handle as a JSON string | \x01 | document, nothing for a delete mark
 *
 * JSON text has no control characters, so nothing needs to be escaped.
 */
export const freshDelimiter = '\x01';
const separator = freshDelimiter.charCodeAt(0);
const newline = '\n'.charCodeAt(0);
export function freshLine(version: number, { handle, document }: LogOperation): Buffer {
  const head = Buffer.from(`${version}${freshDelimiter}${JSON.stringify(handle.toString())}`);
  const line = Buffer.allocUnsafe(head.length + (document?.length ?? 0) + 2);
  line.set(head, 0);
  line[head.length] = separator;
  if (document !== undefined) line.set(document, head.length + 1);
  line[line.length - 1] = newline;
  return line;
}

/** What a compute node asks a write node. */
export interface FreshQuestion {
  readonly regions: readonly FreshRegionQuestion[];
}

export interface FreshRegionQuestion {
  readonly regionId: number;
  /** Of the manifest that the compute node has. */
  readonly term: number;
  /** Everything up to this version of the region it has already. */
  readonly after: number;
}

/**
 * - `rows`: `bytes` of lines follow, the longest of `lineBytes`, of the versions after what was asked for, up to `to`, each plus `versionBase` being a version of the region.
 * - `behind`: a manifest of this term that shows everything up to `to` is there soon; ask again with it.
 * - `elsewhere`: this node does not own the region, or does not have its rows yet.
 */
export type FreshRegionAnswer =
  | { readonly regionId: number; readonly state: 'rows'; readonly term: number; readonly versionBase: number; readonly to: number; readonly bytes: number; readonly lineBytes: number }
  | { readonly regionId: number; readonly state: 'behind'; readonly term: number; readonly to: number }
  | { readonly regionId: number; readonly state: 'elsewhere' };

export interface FreshAnswer {
  readonly regions: readonly FreshRegionAnswer[];
  /** Lines, for each region whose state is `rows`. */
  readonly rows: readonly Buffer[];
}

/** One line of JSON, then the rows. */
export function encodeFreshAnswer({ regions, rows }: FreshAnswer): Buffer[] {
  return [Buffer.from(`${JSON.stringify(regions)}\n`), ...rows];
}

/** Throws on what is none. */
export function decodeFreshAnswer(bytes: Buffer): FreshAnswer {
  const end = bytes.indexOf(newline);
  const regions = JSON.parse(bytes.toString('utf8', 0, end)) as FreshRegionAnswer[];
  const rows: Buffer[] = [];
  let offset = end + 1;
  for (const region of regions) {
    if (region.state !== 'rows') continue;
    rows.push(bytes.subarray(offset, offset + region.bytes));
    offset += region.bytes;
  }
  if (offset !== bytes.length) throw new Error('an answer with fresh rows is cut short');
  return { regions, rows };
}
