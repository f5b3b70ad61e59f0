/** Kinds of remote files by their importance, as TiFlash numbers them: the smaller the number, the longer it is kept. */
export const fileTypes = [
  'Unknown',
  'Meta',
  'VectorIndex',
  'FullTextIndex',
  'InvertedIndex',
  'Merged',
  'Index',
  'Mark',
  'NullMap',
  'DeleteMarkColData',
  'VersionColData',
  'HandleColData',
  'ColData',
] as const;
export type FileType = (typeof fileTypes)[number];
/** Position in `fileTypes`. */
export type FileTypeNumber = number;

/** What is small is kept as a whole, as this type, whatever types its parts have. */
export const mergedBytesMax = 2 ** 20;
