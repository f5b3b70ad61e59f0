import { randomBytes } from 'node:crypto';
import { BinnacleError } from '@binnacle/contracts/errors';

/** Formula: percent-encoded in a path each byte takes three characters, and listeners take 2048 of them. */
export const idBytesMax = 512;

/** Throws BAD_REQUEST for what cannot be the id of a document. Slashes, quotes and emoji can. */
export function checkId(id: unknown): asserts id is string {
  if (typeof id !== 'string') throw badRequest("Document's `id` field should be a string.");
  if (id === '') throw badRequest('The `id` should not be empty.');
  if (Buffer.byteLength(id) > idBytesMax) throw badRequest(`The \`id\` has at most ${idBytesMax} bytes.`);
  if (id.includes('\0') || /\p{Surrogate}/u.test(id)) throw badRequest('The `id` has no NUL and no lone surrogates.');
}

function badRequest(message: string): BinnacleError {
  return new BinnacleError('BAD_REQUEST', message);
}

let lastMs = 0;
let sequence = 0;

/**
 * An id for a document that brings none: a UUID of version 7 (RFC 9562), never given twice, and larger than those before, so that rows
 * written together lie together.
 */
export function newDocumentId(nowMs = Date.now()): string {
  if (nowMs > lastMs) {
    lastMs = nowMs;
    sequence = 0;
  } else if (++sequence > 0xfff) {
    // More than 4096 in a millisecond, or a clock that was put back: borrow from the future.
    lastMs++;
    sequence = 0;
  }
  const time = lastMs.toString(16).padStart(12, '0');
  const random = randomTail();
  return `${time.slice(0, 8)}-${time.slice(8)}-7${sequence.toString(16).padStart(3, '0')}-${random.slice(0, 4)}-${random.slice(4)}`;
}

/** Random bytes come in blocks: a call of its own for each id costs more than all the rest of a small document. */
const blockBytes = 8 * 512;
let block = Buffer.alloc(0);
let blockAt = 0;

/** 64 bits, the first two of them the variant. */
function randomTail(): string {
  if (blockAt >= block.length) {
    block = randomBytes(blockBytes);
    blockAt = 0;
  }
  block[blockAt] = ((block[blockAt] as number) & 0x3f) | 0x80;
  blockAt += 8;
  return block.toString('hex', blockAt - 8, blockAt);
}
