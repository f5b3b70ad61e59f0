import type { DuckDBType, DuckDBValue } from '@duckdb/node-api';

/** A value of a result as JSON has it. */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [name: string]: JsonValue };

/**
 * Whole numbers and decimals are numbers as long as a double holds them exactly, else strings with all their digits; NaN and infinities are strings.
 * Dates and times are ISO 8601, with a Z where they have a zone; bytes are base64; a map is a list of [key, value].
 */
export type ValueReader = (value: DuckDBValue) => JsonValue;

/** What a column's values become; chosen once for a column. */
export function readerOf(type: DuckDBType): ValueReader {
  const read = readers[baseName(type)] ?? asText;
  return (value) => (value === null || value === undefined ? null : read(value, type));
}

/** `DECIMAL(18,3)` is `DECIMAL`, `INTEGER[]` is `LIST`. */
export function baseName(type: DuckDBType): string {
  const text = type.toString();
  if (text.endsWith('[]')) return 'LIST';
  if (/\[\d+\]$/.test(text)) return 'ARRAY';
  return text.replace(/\(.*$/s, '');
}

type Reader = (value: Exclude<DuckDBValue, null>, type: DuckDBType) => JsonValue;

const asText: Reader = (value) => String(value);
const asIs: Reader = (value) => value as JsonValue;
const wholeNumber: Reader = (value) => {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
};
const float: Reader = (value) => (Number.isFinite(value) ? (value as number) : String(value));

const readers: Readonly<Record<string, Reader>> = {
  BOOLEAN: asIs,
  TINYINT: asIs,
  SMALLINT: asIs,
  INTEGER: asIs,
  UTINYINT: asIs,
  USMALLINT: asIs,
  UINTEGER: asIs,
  VARCHAR: asIs,
  BIGINT: wholeNumber,
  UBIGINT: wholeNumber,
  HUGEINT: wholeNumber,
  UHUGEINT: wholeNumber,
  FLOAT: float,
  DOUBLE: float,
  DECIMAL: (value) => {
    const text = String(value);
    // 15 digits are what every double keeps.
    return text.replace(/[-.]|^0+/g, '').length <= 15 ? Number(text) : text;
  },
  TIMESTAMP: (value) => String(value).replace(' ', 'T'),
  TIMESTAMP_S: (value) => String(value).replace(' ', 'T'),
  TIMESTAMP_MS: (value) => String(value).replace(' ', 'T'),
  TIMESTAMP_NS: (value) => String(value).replace(' ', 'T'),
  'TIMESTAMP WITH TIME ZONE': (value) => String(value).replace(' ', 'T').replace(/[+-]00(:00)?$/, 'Z'),
  BLOB: (value) => Buffer.from((value as { bytes: Uint8Array }).bytes).toString('base64'),
  LIST: (value, type) => elements(value, (type as { valueType?: DuckDBType }).valueType),
  ARRAY: (value, type) => elements(value, (type as { valueType?: DuckDBType }).valueType),
  STRUCT: (value, type) => {
    const { entryNames, entryTypes } = type as unknown as { entryNames: string[]; entryTypes: DuckDBType[] };
    const { entries } = value as unknown as { entries: Record<string, DuckDBValue> };
    return Object.fromEntries(entryNames.map((name, index) => [name, readerOf(entryTypes[index] as DuckDBType)(entries[name] ?? null)]));
  },
  MAP: (value, type) => {
    const { keyType, valueType } = type as unknown as { keyType: DuckDBType; valueType: DuckDBType };
    const { entries } = value as unknown as { entries: { key: DuckDBValue; value: DuckDBValue }[] };
    return entries.map((entry) => [readerOf(keyType)(entry.key), readerOf(valueType)(entry.value)]);
  },
};

function elements(value: unknown, type: DuckDBType | undefined): JsonValue[] {
  const { items } = value as { items: DuckDBValue[] };
  const read: ValueReader = type === undefined ? (item) => (item === null ? null : String(item)) : readerOf(type);
  return items.map(read);
}
