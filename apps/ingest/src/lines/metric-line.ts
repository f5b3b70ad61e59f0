import { identityBytesMax, memberBytesMax } from '../series/identity-limits.js';
import type { MetricKind } from '../series/metric-kind.js';
import { isSign, readDecimal } from './decimal.js';

/** Why a line was not taken: a label of the counter of bad lines, so there are few of them. */
export type BadLine = 'no-name' | 'no-value' | 'value' | 'type' | 'sample-rate' | 'field' | 'too-long' | 'event' | 'service-check';

/** What a line says, as places in the bytes it stands in. One object serves every line, so that reading one makes nothing. */
export class MetricLine {
  kind: MetricKind = 'counter';
  nameStart = 0;
  nameEnd = 0;
  /** One value, or several with colons between them; of a set one member, colons included. */
  valuesStart = 0;
  valuesEnd = 0;
  /** 1 where none is said. */
  sampleRate = 1;
  /** Between `#` and the next `|`; empty where there are none. */
  tagsStart = 0;
  tagsEnd = 0;
  /** It says when it was, and so is hardly ever spelled so again. */
  hasTime = false;
}

const colon = 0x3a;
const bar = 0x7c;

/**
 * Reads `name:value|type|@rate|#tag,tag` from `start` to `end` (without the line's end) into `line`. Returns why it cannot; `line` means nothing then.
 * Of DogStatsD's further fields the container's id, the time, external data and cardinality are let pass and not used.
 */
export function readMetricLine(bytes: Buffer, start: number, end: number, line: MetricLine): BadLine | undefined {
  let at = start;
  while (at < end && bytes[at] !== colon) at++;
  if (at === start) return 'no-name';
  if (at === end) return 'no-value';
  line.nameStart = start;
  line.nameEnd = at;
  line.valuesStart = at + 1;
  while (at < end && bytes[at] !== bar) at++;
  if (at === end) return 'type';
  line.valuesEnd = at;
  const typeEnd = readType(bytes, at + 1, end, line);
  if (typeEnd < 0) return 'type';
  line.sampleRate = 1;
  line.hasTime = false;
  line.tagsStart = line.tagsEnd = end;
  const bad = typeEnd === end ? undefined : readFields(bytes, typeEnd + 1, end, line);
  if (bad !== undefined) return bad;
  if (line.nameEnd - line.nameStart + line.tagsEnd - line.tagsStart > identityBytesMax) return 'too-long';
  return readValues(bytes, line);
}

/** Where the type ends: at a bar or at the line's end. -1 if it is none. */
function readType(bytes: Buffer, at: number, end: number, line: MetricLine): number {
  let typeEnd = at + 1;
  switch (at < end ? bytes[at] : 0) {
    case 0x63: // c
      line.kind = 'counter';
      break;
    case 0x67: // g
      line.kind = 'gauge';
      break;
    case 0x73: // s
      line.kind = 'set';
      break;
    case 0x68: // h
    case 0x64: // d
      line.kind = 'timer';
      break;
    case 0x6d: // ms
      line.kind = 'timer';
      if (at + 1 >= end || bytes[at + 1] !== 0x73) return -1;
      typeEnd = at + 2;
      break;
    default:
      return -1;
  }
  return typeEnd === end || bytes[typeEnd] === bar ? typeEnd : -1;
}

function readFields(bytes: Buffer, start: number, end: number, line: MetricLine): BadLine | undefined {
  for (let at = start; at <= end; ) {
    let fieldEnd = at;
    while (fieldEnd < end && bytes[fieldEnd] !== bar) fieldEnd++;
    switch (at < fieldEnd ? bytes[at] : 0) {
      case 0x40: // @
        line.sampleRate = readDecimal(bytes, at + 1, fieldEnd);
        if (!(line.sampleRate > 0 && line.sampleRate <= 1)) return 'sample-rate';
        break;
      case 0x23: // #
        // Of several the last one counts.
        line.tagsStart = at + 1;
        line.tagsEnd = fieldEnd;
        break;
      default:
        if (!isUnusedField(bytes.toString('latin1', at, fieldEnd))) return 'field';
        line.hasTime ||= bytes[at] === 0x54; // T
    }
    at = fieldEnd + 1;
  }
  return undefined;
}

const isUnusedField = (field: string): boolean => /^(c:|e:|card:|T\d)/.test(field);

function readValues(bytes: Buffer, line: MetricLine): BadLine | undefined {
  const { valuesStart: start, valuesEnd: end } = line;
  if (start === end) return 'no-value';
  if (line.kind === 'set') return end - start > memberBytesMax ? 'too-long' : undefined;
  // All of them are looked at before any is counted: a bad line counts nothing.
  let isBad = false;
  eachValue(bytes, line, (value) => (isBad ||= Number.isNaN(value)));
  return isBad || bytes[end - 1] === colon ? 'value' : undefined;
}

/**
 * Calls back with every value of a line that `readMetricLine` took, in order; not for sets.
 *
 * @param take `isSigned`: with a plus or a minus, by which a gauge changes instead of being set
 */
export function eachValue(bytes: Buffer, line: MetricLine, take: (value: number, isSigned: boolean) => void): void {
  for (let start = line.valuesStart; start < line.valuesEnd; ) {
    let at = start;
    while (at < line.valuesEnd && bytes[at] !== colon) at++;
    take(readDecimal(bytes, start, at), isSign(bytes[start]));
    start = at + 1;
  }
}
