import { eventPriorities, eventTypes, type MetricEvent } from '../messages/metric-event.js';
import { normalTags } from '../series/tags.js';

/** Where a line came from, and when: what an event has that does not say it itself. */
export interface Receipt {
  readonly source: string;
  /** Seconds since 1970. */
  readonly nowS: number;
}

const eventHead = /^_e\{(\d{1,5}),(\d{1,5})\}:/;
const wholeSeconds = /^\d{1,12}$/;
/** Of the statuses of a service check: OK, warning, critical, unknown. */
const typeByStatus = ['success', 'warning', 'error', 'info'] as const;

/**
 * Reads `_e{TITLE_BYTES,TEXT_BYTES}:TITLE|TEXT|d:TIME|h:HOST|k:KEY|p:PRIORITY|s:SOURCE_TYPE|t:TYPE|#TAGS`; fields may come in any order.
 * Undefined when the line is none. In the text `\n` is a line's end.
 */
export function readEventLine(line: Buffer, receipt: Receipt): MetricEvent | undefined {
  const head = eventHead.exec(line.toString('latin1', 0, 20));
  if (head === null) return undefined;
  const titleStart = head[0].length;
  const titleEnd = titleStart + Number(head[1]);
  const textEnd = titleEnd + 1 + Number(head[2]);
  if (textEnd > line.length || line[titleEnd] !== 0x7c || titleEnd === titleStart) return undefined;
  const fields = readFields(line.toString('utf8', textEnd));
  const priority = eventPriorities.find((each) => each === (fields?.get('p') ?? 'normal'));
  const type = eventTypes.find((each) => each === (fields?.get('t') ?? 'info'));
  if (fields === undefined || priority === undefined || type === undefined) return undefined;
  return {
    title: line.toString('utf8', titleStart, titleEnd),
    text: line.toString('utf8', titleEnd + 1, textEnd).replaceAll('\\n', '\n'),
    priority,
    type,
    kind: 'event',
    ...shared(fields, receipt),
  };
}

/** Reads `_sc|NAME|STATUS|d:TIME|h:HOST|#TAGS|m:MESSAGE`; the message comes last. Undefined when the line is none. */
export function readServiceCheckLine(line: Buffer, receipt: Receipt): MetricEvent | undefined {
  const text = line.toString('utf8');
  const [, name, status, rest = ''] = /^_sc\|([^|]+)\|([0-3])((?:\|.*)?)$/s.exec(text) ?? [];
  if (name === undefined) return undefined;
  const messageAt = rest.indexOf('|m:');
  const fields = readFields(messageAt < 0 ? rest : rest.slice(0, messageAt));
  if (fields === undefined) return undefined;
  return {
    title: name,
    text: messageAt < 0 ? '' : rest.slice(messageAt + 3).replaceAll('\\n', '\n'),
    priority: 'normal',
    type: typeByStatus[Number(status)] as MetricEvent['type'],
    kind: 'service-check',
    ...shared(fields, receipt),
  };
}

/** `|d:1|#a,b` by the letter of each field; undefined when one is not known. */
function readFields(text: string): Map<string, string> | undefined {
  const fields = new Map<string, string>();
  if (text === '') return fields;
  if (text[0] !== '|') return undefined;
  for (const field of text.slice(1).split('|')) {
    const [, letter, content] = /^(?:([dhkpstce]):|#)(.*)$/s.exec(field) ?? [];
    if (content === undefined) return undefined;
    fields.set(letter ?? '#', content);
  }
  const happenedAt = fields.get('d');
  return happenedAt === undefined || wholeSeconds.test(happenedAt) ? fields : undefined;
}

function shared(fields: ReadonlyMap<string, string>, { source, nowS }: Receipt): Omit<MetricEvent, 'title' | 'text' | 'priority' | 'type' | 'kind'> {
  return {
    happenedAtS: Number(fields.get('d') ?? nowS),
    source: fields.get('h') ?? source,
    aggregationKey: fields.get('k') ?? '',
    sourceTypeName: fields.get('s') ?? '',
    tags: normalTags(fields.get('#')?.split(',') ?? []),
  };
}
