import { promisify } from 'node:util';
import { inflate } from 'node:zlib';
import { BadMessage, MessageTooLong } from './bad-message.js';
import { readLz4Frames } from './lz4-frame.js';

export const bodyEncodings = ['identity', 'deflate', 'lz4'] as const;
export type BodyEncoding = (typeof bodyEncodings)[number];

const inflateZlib = promisify<Buffer, { maxOutputLength: number }, Buffer>(inflate);

/** By the header `Content-Encoding`, which has to be exact, as gostatsd wants it; absent or empty, nothing was done to the body. Undefined: no encoding of ours. */
export function bodyEncoding(header: string | undefined): BodyEncoding | undefined {
  return header === undefined || header === '' ? 'identity' : bodyEncodings.find((each) => each === header);
}

/** The bytes of the message. An empty body is an empty message in every encoding. Rejects with `BadMessage`, and with `MessageTooLong` when they are more than `bytesMax`. */
export async function decodedBody(body: Buffer, encoding: BodyEncoding, bytesMax: number): Promise<Buffer> {
  if (body.length === 0) return body;
  if (encoding === 'lz4') return await readLz4Frames(body, bytesMax);
  if (encoding === 'identity') {
    if (body.length > bytesMax) throw new MessageTooLong(bytesMax);
    return body;
  }
  try {
    return await inflateZlib(body, { maxOutputLength: bytesMax });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw new MessageTooLong(bytesMax);
    throw new BadMessage(error instanceof Error ? error.message : String(error), { cause: error });
  }
}
