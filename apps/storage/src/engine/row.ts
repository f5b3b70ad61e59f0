/** A row as it is kept. */
export interface Row {
  readonly handle: Buffer;
  readonly version: number;
  /** The document as JSON text. */
  readonly document: Buffer;
}
