/*
 * What the process that runs queries is told, and what it answers. Both ways frames: u32 little-endian bytes that follow | u8 kind | bytes.
 * To it only JSON goes. From it comes one JSON answer for each request, before that of `run` the bytes of the result.
 */
export const jsonFrame = 1;
export const dataFrame = 2;
export const frameHeadBytes = 5;

export type ResultFormat = 'json' | 'csv' | 'arrow' | 'parquet' | 'rows';

/** A parameter of a query: bigints as text, JSON has none. */
export type QueryValue = string | number | boolean | null | { readonly bigint: string };

export type QueryRequest =
  /** A new DuckDB; what was open is closed. */
  | { readonly op: 'open'; readonly memoryMegabytes: number; readonly threads: number }
  /** Refuses what may not be run. */
  | { readonly op: 'parse'; readonly sql: string }
  /** Statements of this node's own, then the lock: files of `paths` can be read after it and nothing else. */
  | { readonly op: 'prepare'; readonly statements: readonly string[]; readonly paths: readonly string[] }
  /** Which columns of which files the queries read. */
  | { readonly op: 'plan'; readonly sql: readonly string[] }
  | { readonly op: 'run'; readonly sql: string; readonly values: readonly QueryValue[]; readonly format: ResultFormat; readonly rowsMax: number | null; readonly file: string };

export interface ResultColumn {
  readonly name: string;
  /** As DuckDB names it. */
  readonly type: string;
}

export interface ParseAnswer {
  readonly kind: 'select' | 'explain' | 'explain analyze';
  /** The SELECT alone, as it was written: errors point at places in it. */
  readonly select: string;
  /** As DuckDB writes it: it may be put into another statement, which what was written may not. Empty: DuckDB cannot write it. */
  readonly canonical: string;
  readonly tables: readonly string[];
}

export interface PlanAnswer {
  /** By path; undefined: it cannot be told, so every column of every file may be. */
  readonly columns: Readonly<Record<string, readonly string[]>> | undefined;
}

export interface RunAnswer {
  readonly columns: readonly ResultColumn[];
  readonly rows: number;
}

/**
 * - `sql`: what the user wrote cannot be run; the message is DuckDB's, or says what is not allowed.
 * - `memory`, `rows`: a limit was reached.
 * - `file`: a file that was read is damaged, or not what the manifest says.
 */
export type QueryFailure = 'sql' | 'memory' | 'rows' | 'file' | 'interrupted' | 'internal';

export interface FailureAnswer {
  readonly failure: QueryFailure;
  readonly message: string;
}

export function frame(kind: number, bytes: Uint8Array): Buffer {
  const whole = Buffer.allocUnsafe(frameHeadBytes + bytes.length);
  whole.writeUInt32LE(bytes.length, 0);
  whole[4] = kind;
  whole.set(bytes, frameHeadBytes);
  return whole;
}

export function jsonFrameOf(value: unknown): Buffer {
  return frame(jsonFrame, Buffer.from(JSON.stringify(value)));
}

export interface Frame {
  readonly kind: number;
  readonly bytes: Buffer;
}

/** Takes a stream of bytes apart. */
export async function* framesOf(stream: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of stream) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (rest.length >= frameHeadBytes) {
      const end = frameHeadBytes + rest.readUInt32LE(0);
      if (rest.length < end) break;
      yield { kind: rest[4] as number, bytes: rest.subarray(frameHeadBytes, end) };
      rest = rest.subarray(end);
    }
  }
}
