import { randomBytes } from 'node:crypto';
import type { MetricEvent } from '../messages/metric-event.js';
import type { FlushedSeries } from '../series/figures.js';
import type { SpoolPart } from '../spool/spool.js';

/** Of the spool: what goes to the tables. */
export const tablesLane = 'tables';

/** Of one import: small enough to be held and sent again, large enough that the round trip does not matter. */
const partBytesMax = 4 * 2 ** 20;

/** The schema of the table `metrics`, as the storage role takes it. What is not filtered by is not indexed for searches; SQL sees every field. */
export const metricsTable = {
  name: 'metrics',
  fields: [
    { name: 'name', type: 'string', facet: true },
    { name: 'kind', type: 'string', facet: true },
    { name: 'source', type: 'string', facet: true },
    { name: 'tags', type: 'string[]' },
    { name: 'timestamp', type: 'int64' },
    { name: 'value', type: 'float', index: false, optional: true },
  ],
};

export const eventsTable = {
  name: 'events',
  fields: [
    { name: 'name', type: 'string' },
    { name: 'text', type: 'string' },
    { name: 'kind', type: 'string', facet: true },
    { name: 'type', type: 'string', facet: true },
    { name: 'priority', type: 'string', facet: true },
    { name: 'source', type: 'string', facet: true },
    { name: 'aggregation_key', type: 'string' },
    { name: 'source_type', type: 'string' },
    { name: 'tags', type: 'string[]' },
    { name: 'timestamp', type: 'int64' },
  ],
};

/**
 * One flush as rows. Every row has an id of its own, so that a part that is sent again, because nobody knows whether it arrived, replaces what it
 * wrote before instead of counting twice.
 *
 * @param timestampMs of the end of the interval
 */
export function* rowsOf(flushed: readonly FlushedSeries[], events: readonly MetricEvent[], timestampMs: number): Generator<SpoolPart> {
  const flushId = `${timestampMs.toString(36)}-${randomBytes(6).toString('hex')}`;
  yield* parts(metricsTable.name, metricRows(flushed, timestampMs, flushId));
  yield* parts(eventsTable.name, eventRows(events, flushId));
}

function* metricRows(flushed: readonly FlushedSeries[], timestamp: number, flushId: string): Generator<string> {
  let row = 0;
  for (const { identity, figures } of flushed) {
    const { name, tags, source } = identity;
    // The same for every figure, and most of the row.
    const shared = JSON.stringify({ name, source, tags, timestamp }).slice(1, -1);
    for (const { kind, value } of figures) {
      // A sum can leave the range of numbers; there is no number to write then.
      if (Number.isFinite(value)) yield `{"id":"${flushId}-${(row++).toString(36)}",${shared},"kind":"${kind}","value":${value}}\n`;
    }
  }
}

function* eventRows(events: readonly MetricEvent[], flushId: string): Generator<string> {
  for (const [row, event] of events.entries()) {
    const { title: name, text, kind, type, priority, source, aggregationKey: aggregation_key, sourceTypeName: source_type, tags, happenedAtS } = event;
    yield `${JSON.stringify({ id: `${flushId}-${row.toString(36)}`, name, text, kind, type, priority, source, aggregation_key, source_type, tags, timestamp: happenedAtS * 1000 })}\n`;
  }
}

function* parts(table: string, lines: Iterable<string>): Generator<SpoolPart> {
  let text: string[] = [];
  let characters = 0;
  for (const line of lines) {
    text.push(line);
    characters += line.length;
    if (characters < partBytesMax) continue;
    yield { lane: tablesLane, name: table, content: Buffer.from(text.join('')) };
    text = [];
    characters = 0;
  }
  if (text.length > 0) yield { lane: tablesLane, name: table, content: Buffer.from(text.join('')) };
}
