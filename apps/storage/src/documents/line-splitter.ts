/** A line without its end, or that there was one that is longer than allowed. */
export type Line = Buffer | 'too long';

const newline = 0x0a;

/** Cuts a stream of bytes into lines. Of a line that is too long nothing is kept. */
export class LineSplitter {
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(private readonly lineBytesMax: number) {}

  /** The lines that end in this chunk; blank ones are left out. */
  *push(chunk: Buffer): Generator<Line> {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(newline, start);
      if (end < 0) break;
      this.#add(chunk.subarray(start, end));
      start = end + 1;
      yield* this.#finish();
    }
    if (start < chunk.length) this.#add(chunk.subarray(start));
  }

  /** The last line, which need not have an end. */
  *end(): Generator<Line> {
    yield* this.#finish();
  }

  #add(part: Buffer): void {
    this.#bytes += part.length;
    // One byte more than allowed may be a carriage return.
    if (this.#bytes > this.lineBytesMax + 1) this.#parts = [];
    else this.#parts.push(part);
  }

  *#finish(): Generator<Line> {
    const isTooLong = this.#bytes > this.lineBytesMax + 1;
    const line = trimmed(this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts));
    this.#parts = [];
    this.#bytes = 0;
    if (isTooLong || line.length > this.lineBytesMax) yield 'too long';
    else if (line.length > 0) yield line;
  }
}

/** Without the blanks at both ends, the carriage return of CRLF among them. */
function trimmed(line: Buffer): Buffer {
  let start = 0;
  let end = line.length;
  while (start < end && isBlank(line[start] as number)) start++;
  while (end > start && isBlank(line[end - 1] as number)) end--;
  return start === 0 && end === line.length ? line : line.subarray(start, end);
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x0d || byte === 0x09;
}
