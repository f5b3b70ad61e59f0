import { BinnacleError } from '@binnacle/contracts/errors';
import type { CheckedTable } from '../tables/document-check.js';
import { nestingMax } from '../tables/json.js';
import { isPatch, newDocument, parseDocument, patchedDocument, projectedDocument, type WriteRequest } from './document.js';

/** What is done to large documents on a thread of their own. */
export type LargeDocumentJob =
  | { readonly kind: 'prepare'; readonly table: CheckedTable; readonly bytes: Uint8Array; readonly request: WriteRequest }
  | {
      readonly kind: 'patch';
      readonly table: CheckedTable;
      readonly bytes: Uint8Array;
      readonly request: WriteRequest;
      readonly current: Uint8Array;
    }
  | { readonly kind: 'project'; readonly bytes: Uint8Array; readonly include: readonly string[]; readonly exclude: readonly string[] };

export interface LargeDocument {
  readonly id: string;
  /** Absent where only a patch came, which is no document of its own: `refusal` says why. */
  readonly whole?: Uint8Array;
  readonly refusal?: string;
}

export function largeDocumentResult(job: LargeDocumentJob): LargeDocument {
  checkNesting(job.bytes);
  if (job.kind === 'project') return { id: '', whole: projectedDocument(job.bytes, job.include, job.exclude) };
  const parsed = parseDocument(job.table, job.bytes, job.request);
  const { id } = parsed;
  if (job.kind === 'patch') return { id, whole: patchedDocument(job.table, parsed, job.current) };
  try {
    return { id, whole: newDocument(job.table, parsed, job.request) };
  } catch (error) {
    if (!isPatch(job.request) || !(error instanceof BinnacleError)) throw error;
    return { id, refusal: error.message };
  }
}

const quote = 0x22;
const backslash = 0x5c;

/** Before anything is parsed: a parser pays with memory for every level, and 16 MiB of brackets are that many levels. */
export function checkNesting(bytes: Uint8Array): void {
  let levels = 0;
  let isInString = false;
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index] as number;
    if (byte === quote) isInString = !isInString;
    else if (isInString && byte === backslash) index++;
    else if (isInString) continue;
    // [ and {, ] and }
    else if (byte === 0x5b || byte === 0x7b) levels++;
    else if (byte === 0x5d || byte === 0x7d) levels--;
    if (levels > nestingMax) throw new BinnacleError('BAD_REQUEST', `Bad JSON: it nests deeper than ${nestingMax} levels.`);
  }
}
