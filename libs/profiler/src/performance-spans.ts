import { constants, type PerformanceEntry } from 'node:perf_hooks';
import { microsOf, type Row, type TraceEvent } from './trace-event.js';

/** What `node:perf_hooks` tells of a running process. Files are not among it. */
export const observedEntryTypes = ['gc', 'http', 'net', 'dns', 'mark', 'measure'] as const;

const rowOf: Readonly<Record<string, Row>> = { gc: 'gc', http: 'http', net: 'net', dns: 'dns', mark: 'user timing', measure: 'user timing' };

const collections: Readonly<Record<number, string>> = {
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weak callbacks',
};

/** What the entries of Node.js carry, each kind some of it. */
interface Detail {
  readonly kind?: number;
  readonly req?: { readonly method?: string; readonly url?: string };
  readonly res?: { readonly statusCode?: number };
  readonly host?: string;
  readonly port?: number;
  readonly hostname?: string;
}

/** An entry as a span, and the row that it belongs to. */
export function entrySpan(entry: PerformanceEntry): [row: Row, event: TraceEvent] {
  const row = rowOf[entry.entryType] ?? 'user timing';
  return [row, { ...labelOf(entry), cat: entry.entryType, ph: 'X', ts: microsOf(entry.startTime), dur: Math.round(entry.duration * 1_000) }];
}

function labelOf(entry: PerformanceEntry & { readonly detail?: Detail | null }): { name: string; args?: Record<string, unknown> } {
  const { entryType, name } = entry;
  const detail = entry.detail ?? {};
  switch (entryType) {
    case 'gc':
      return { name: `${collections[detail.kind ?? 0] ?? 'other'} collection` };
    case 'http': {
      // Queries hold keys, headers hold more of them.
      const path = (detail.req?.url ?? '').split('?', 1)[0];
      return { name: `${name === 'HttpRequest' ? 'served' : 'sent'} ${detail.req?.method ?? ''} ${path}`, args: { status: detail.res?.statusCode } };
    }
    case 'net':
      return { name: `${name} ${detail.host ?? ''}:${detail.port ?? ''}` };
    case 'dns':
      return { name: `${name} ${detail.hostname ?? ''}` };
    default:
      return { name };
  }
}
