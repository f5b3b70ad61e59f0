import type { DuckDBDataChunk, DuckDBResult, DuckDBType, DuckDBValue } from '@duckdb/node-api';
import { baseName, readerOf } from './result-values.js';

/** Bytes of a result, made from its rows as they come. */
export interface ResultWriter {
  begin(): Buffer | undefined;
  rows(chunk: DuckDBDataChunk): Buffer;
  end(): Buffer | undefined;
}

export function literalOf(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** Rows as arrays with commas between, as they stand within `"rows":[...]`. */
export function jsonWriter(result: DuckDBResult): ResultWriter {
  const readers = result.columnTypes().map(readerOf);
  let isFirst = true;
  return {
    begin: () => undefined,
    rows(chunk) {
      const lines = rowsOf(chunk).map((row) => JSON.stringify(row.map((value, index) => readers[index]?.(value) ?? null)));
      const text = lines.join(',\n');
      const separator = isFirst ? '' : ',\n';
      isFirst = false;
      return Buffer.from(separator + text);
    },
    end: () => undefined,
  };
}

/** RFC 4180 with a head line and CRLF; null is nothing, an empty text is "". Lists and objects are JSON. */
export function csvWriter(result: DuckDBResult): ResultWriter {
  const readers = result.columnTypes().map(readerOf);
  return {
    begin: () => Buffer.from(`${result.columnNames().map(csvText).join(',')}\r\n`),
    rows(chunk) {
      const lines = rowsOf(chunk).map((row) => row.map((value, index) => csvValue(readers[index]?.(value) ?? null)).join(','));
      return Buffer.from(`${lines.join('\r\n')}\r\n`);
    },
    end: () => undefined,
  };
}

function csvValue(value: unknown): string {
  if (value === null) return '';
  return typeof value === 'string' ? csvText(value) : typeof value === 'object' ? csvText(JSON.stringify(value)) : String(value);
}

function csvText(text: string): string {
  return text === '' || /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** An Arrow IPC stream. Types that Arrow has no twin for are text. */
export async function arrowWriter(result: DuckDBResult): Promise<ResultWriter> {
  const arrow = await import('apache-arrow');
  const types = result.columnTypes();
  const arrowTypes = types.map((type) => arrowTypeOf(arrow, type));
  const names = result.deduplicatedColumnNames();
  const schema = new arrow.Schema(names.map((name, index) => new arrow.Field(name, arrowTypes[index] as InstanceType<typeof arrow.DataType>, true)));
  // Each time a whole stream is made, of the schema and one batch; the schema's bytes are the same always, and the end is taken off.
  const head = arrow.tableToIPC(new arrow.Table(schema), 'stream').subarray(0, -arrowEnd.length);
  return {
    begin: () => Buffer.from(head),
    rows(chunk) {
      const data = types.map((type, index) => {
        const read = arrowReader(type);
        return arrow.vectorFromArray(chunk.getColumnValues(index).map((value) => (value === null ? null : read(value))), arrowTypes[index] as InstanceType<typeof arrow.DataType>).data[0];
      });
      const struct = arrow.makeData({ type: new arrow.Struct(schema.fields), length: chunk.rowCount, nullCount: 0, children: data as never });
      const batch = new arrow.RecordBatch(schema, struct as never);
      return Buffer.from(arrow.tableToIPC(new arrow.Table([batch]), 'stream').subarray(head.length, -arrowEnd.length));
    },
    end: () => arrowEnd,
  };
}

/** A message without anything in it. */
const arrowEnd = Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

type Arrow = typeof import('apache-arrow');

function arrowTypeOf(arrow: Arrow, type: DuckDBType): InstanceType<Arrow['DataType']> {
  const base = baseName(type);
  if (base === 'LIST') return new arrow.List(new arrow.Field('item', arrowTypeOf(arrow, (type as unknown as { valueType: DuckDBType }).valueType), true));
  const simple: Readonly<Record<string, () => InstanceType<Arrow['DataType']>>> = {
    BOOLEAN: () => new arrow.Bool(),
    TINYINT: () => new arrow.Int8(),
    SMALLINT: () => new arrow.Int16(),
    INTEGER: () => new arrow.Int32(),
    BIGINT: () => new arrow.Int64(),
    UTINYINT: () => new arrow.Uint8(),
    USMALLINT: () => new arrow.Uint16(),
    UINTEGER: () => new arrow.Uint32(),
    UBIGINT: () => new arrow.Uint64(),
    FLOAT: () => new arrow.Float32(),
    DOUBLE: () => new arrow.Float64(),
  };
  return simple[base]?.() ?? new arrow.Utf8();
}

function arrowReader(type: DuckDBType): (value: DuckDBValue) => unknown {
  const base = baseName(type);
  if (base === 'LIST') {
    const read = arrowReader((type as unknown as { valueType: DuckDBType }).valueType);
    return (value) => (value as unknown as { items: DuckDBValue[] }).items.map((item) => (item === null ? null : read(item)));
  }
  if (/^(BOOLEAN|U?(TINY|SMALL|BIG)INT|U?INTEGER|FLOAT|DOUBLE|VARCHAR)$/.test(base)) return (value) => value;
  const read = readerOf(type);
  return (value) => {
    const shown = read(value);
    return typeof shown === 'string' ? shown : JSON.stringify(shown);
  };
}

function rowsOf(chunk: DuckDBDataChunk): DuckDBValue[][] {
  return chunk.getRows();
}
