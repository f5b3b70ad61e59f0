import { WireType } from '@bufbuild/protobuf/wire';
import { normalTags } from '../series/tags.js';
import { FieldReader } from './field-reader.js';
import { eventPriorities, eventTypes, type MetricEvent } from './metric-event.js';

/** Of the fields of `EventV2` those that are texts. */
const textFields = new Map([[1, 'title'], [2, 'text'], [4, 'hostname'], [5, 'aggregationKey'], [6, 'sourceTypeName'], [8, 'sourceIp']] as const);

/** The year 10000: nothing later has a date that others can read. */
const latestS = 253_402_300_800;

/**
 * Reads `EventV2` of `schema/gostatsd.proto`. Throws `BadMessage`. Priorities and types that are not known count as the first one, as an absent one does.
 *
 * @param nowS seconds since 1970: when it happened, if it does not say that
 */
export function readEventMessage(bytes: Uint8Array, nowS: number): MetricEvent {
  const reader = new FieldReader(bytes);
  const texts = { title: '', text: '', hostname: '', aggregationKey: '', sourceTypeName: '', sourceIp: '' };
  const tags: string[] = [];
  let happenedAtS = 0;
  let priority = 0;
  let alertType = 0;
  reader.readWhole((number, type) => {
    const textField = textFields.get(number as 1);
    if (textField !== undefined && type === WireType.LengthDelimited) texts[textField] = reader.string();
    else if (number === 7 && type === WireType.LengthDelimited) tags.push(reader.string());
    else if (number === 3 && type === WireType.Varint) happenedAtS = reader.int64();
    else if (number === 9 && type === WireType.Varint) priority = reader.enumeration();
    else if (number === 10 && type === WireType.Varint) alertType = reader.enumeration();
    else return false;
    return true;
  });
  const { title, text, hostname, aggregationKey, sourceTypeName, sourceIp } = texts;
  return {
    title,
    text,
    happenedAtS: happenedAtS > 0 && happenedAtS < latestS ? happenedAtS : nowS,
    source: hostname || sourceIp,
    aggregationKey,
    sourceTypeName,
    tags: normalTags(tags),
    priority: eventPriorities[priority] ?? 'normal',
    type: eventTypes[alertType] ?? 'info',
    kind: 'event',
  };
}
