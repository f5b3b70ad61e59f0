import { parquetMetadata } from 'hyparquet';
import type { FileType } from '../cache/file-type.js';
import { deletedColumn, handleColumn, type Segment, versionColumn } from './manifest.js';

/** What one column of one row group takes in a segment. */
export interface ColumnChunk {
  /** In the file; see `SegmentColumn.column`. */
  readonly column: string;
  readonly rowGroup: number;
  /** In the file, in bytes. */
  readonly offset: number;
  readonly length: number;
  readonly type: FileType;
}

const typeOfColumn: Readonly<Record<string, FileType>> = { [handleColumn]: 'HandleColData', [versionColumn]: 'VersionColData', [deletedColumn]: 'DeleteMarkColData' };

/** Where the columns of a segment are, by the bytes of it from `metaOffset` to the end. Chunks lie one behind the other from offset 4 to `metaOffset`. Throws on damage. */
export function columnChunks(meta: Uint8Array, segment: Pick<Segment, 'key' | 'bytes' | 'metaOffset'>): ColumnChunk[] {
  if (meta.length !== segment.bytes - segment.metaOffset) throw new Error(`${segment.key}: ${meta.length} bytes of its end were read, and there are ${segment.bytes - segment.metaOffset}`);
  const { row_groups: rowGroups } = parquetMetadata(Uint8Array.from(meta).buffer);
  return rowGroups.flatMap(({ columns }, rowGroup) =>
    columns.map(({ meta_data: chunk }) => {
      const column = chunk?.path_in_schema[0];
      if (chunk === undefined || column === undefined) throw new Error(`${segment.key}: a column chunk is not described`);
      const offset = Number(chunk.dictionary_page_offset ?? chunk.data_page_offset);
      const length = Number(chunk.total_compressed_size);
      if (offset + length > segment.metaOffset) throw new Error(`${segment.key}: a chunk of ${column} lies behind the data`);
      return { column, rowGroup, offset, length, type: typeOfColumn[column] ?? 'ColData' };
    }),
  );
}
