import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Row } from '../engine/row.js';
import { projectedDocument } from './document.js';
import { largeBytesMin, type LargeDocuments } from './large-documents.js';

export interface Projection {
  readonly include: readonly string[];
  readonly exclude: readonly string[];
}

const chunkBytesMax = 64 * 1024;
const newline = Buffer.from('\n');

/** The rows as lines, with a newline between them as Typesense has it, in chunks of about 64 KiB. */
export async function* exportedLines(rows: AsyncIterable<Pick<Row, 'document'>>, projection: Projection, large: LargeDocuments): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let bytes = 0;
  let isFirst = true;
  for await (const { document } of rows) {
    const line = await projected(document, projection, large);
    if (!isFirst) parts.push(newline);
    isFirst = false;
    // A large one goes as it is: to copy it into a chunk would take the event loop for long.
    const isLarge = line.length >= chunkBytesMax;
    if (!isLarge) parts.push(line);
    bytes += line.length + 1;
    if (bytes < chunkBytesMax) continue;
    if (parts.length > 0) yield Buffer.concat(parts);
    if (isLarge) yield line;
    parts = [];
    bytes = 0;
    // Rows may come from memory one after the other: others get their turn once a chunk.
    await nextTurn();
  }
  if (parts.length > 0) yield Buffer.concat(parts);
}

/** The document as it is kept, unless only some of its fields are wanted. */
export async function projected(document: Buffer, { include, exclude }: Projection, large: LargeDocuments): Promise<Buffer> {
  if (include.length === 0 && exclude.length === 0) return document;
  if (document.length >= largeBytesMin) return large.project(document, include, exclude);
  return projectedDocument(document, include, exclude);
}
