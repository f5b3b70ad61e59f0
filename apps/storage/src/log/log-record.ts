/** One change of one row. The version of an operation is the `firstVersion` of its batch plus its position in it. */
export interface LogOperation {
  readonly tableId: number;
  /** The document id's UTF-8 bytes. Empty, with no document: the whole table is dropped. */
  readonly handle: Buffer;
  /** Undefined: a delete mark. */
  readonly document: Buffer | undefined;
}

/** Operations with consecutive versions that are there entirely or not at all. */
export interface LogBatch {
  readonly firstVersion: number;
  readonly operations: readonly LogOperation[];
}
