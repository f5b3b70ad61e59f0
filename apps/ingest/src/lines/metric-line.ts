import { randomInt } from 'node:crypto';
import { identityBytesMax, memberBytesMax } from '../series/identity-limits.js';
import type { MetricKind } from '../series/metric-kind.js';
import { readDecimal } from './decimal.js';

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
  /** The first value; of a set nothing. */
  value = 0;
  isPacked = false;
  /** Of a gauge: the value begins with a sign, and so changes the gauge instead of setting it. */
  isChange = false;
  /** 1 where none is said. */
  sampleRate = 1;
  /** Between `#` and the next `|`; empty where there are none. */
  tagsStart = 0;
  tagsEnd = 0;
  /** FNV-1a over name and tags, 32 bits, from a start that is this process's own. */
  hash = 0;
}

const colon = 0x3a;
const bar = 0x7c;
/** Another one in each process: whoever knew it could choose names of one hash, among which every line would have to be searched for. */
const hashBasis = randomInt(2 ** 32) | 0;
const hashPrime = 0x01000193;

/**
 * Reads `name:value|type|@rate|#tag,tag` from `start` to `end` (without the line's end) into `line`. Returns why it cannot; `line` means nothing then.
 * Of DogStatsD's further fields the container's id, the time, external data and cardinality are let pass and not used.
 */
export function readMetricLine(bytes: Buffer, start: number, end: number, line: MetricLine): BadLine | undefined {
  let at = start;
  let hash = hashBasis;
  for (let byte = bytes[at]; at < end && byte !== colon; byte = bytes[++at]) hash = Math.imul(hash ^ (byte as number), hashPrime);
  if (at === start) return 'no-name';
  line.hash = hash;
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
        // Of several the last one counts. The others are in the hash: that series is found under it all the same, as a spelling of its own.
        line.hash = hashed(line.hash, bytes, at + 1, fieldEnd);
        line.tagsStart = at + 1;
        line.tagsEnd = fieldEnd;
        break;
      default:
        if (!isUnusedField(bytes.toString('latin1', at, fieldEnd))) return 'field';
    }
    at = fieldEnd + 1;
  }
  return undefined;
}

function hashed(before: number, bytes: Buffer, start: number, end: number): number {
  let hash = before;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] as number), hashPrime);
  return hash;
}

const isUnusedField = (field: string): boolean => /^(c:|e:|card:|T\d)/.test(field);

function readValues(bytes: Buffer, line: MetricLine): BadLine | undefined {
  const { valuesStart: start, valuesEnd: end } = line;
  if (start === end) return 'no-value';
  line.isPacked = false;
  if (line.kind === 'set') return end - start > memberBytesMax ? 'too-long' : undefined;
  const first = bytes[start];
  line.isChange = line.kind === 'gauge' && (first === 0x2b || first === 0x2d);
  let at = start;
  while (at < end && bytes[at] !== colon) at++;
  line.value = readDecimal(bytes, start, at);
  if (Number.isNaN(line.value)) return 'value';
  // All of them are looked at before any is counted: a bad line counts nothing.
  for (line.isPacked = at < end; at < end; ) {
    const next = at + 1;
    for (at = next; at < end && bytes[at] !== colon; ) at++;
    if (Number.isNaN(readDecimal(bytes, next, at))) return 'value';
  }
  return undefined;
}

/** Calls back with every value of a line that `readMetricLine` took, in order; not for sets. */
export function eachValue(bytes: Buffer, line: MetricLine, take: (value: number, isChange: boolean) => void): void {
  for (let start = line.valuesStart; start < line.valuesEnd; ) {
    let at = start;
    while (at < line.valuesEnd && bytes[at] !== colon) at++;
    take(readDecimal(bytes, start, at), line.kind === 'gauge' && (bytes[start] === 0x2b || bytes[start] === 0x2d));
    start = at + 1;
  }
}
