import { Profile } from 'pprof-format';
import { promisify } from 'node:util';
import { gunzipSync, gzip } from 'node:zlib';
import { CallTreeBuilder } from './call-tree.js';
import { readCallTree } from './pprof-reader.js';
import { UnreadableProfile } from './unreadable-profile.js';

type Numeric = number | bigint;

/** Samples of a day at 99 Hz with ten threads inflate to less; what is larger is a mistake or an attack. */
export const inflatedBytesMax = 256 * 2 ** 20;

const inflateChunkBytes = 2 ** 20;
const deflate = promisify(gzip);

/**
 * The protobuf message in `bytes`, which may be gzipped or not. Throws UnreadableProfile when the gzip is damaged or inflates to more
 * than `bytesMax`. Works synchronously: renderings run in worker threads.
 */
export function inflateProfile(bytes: Uint8Array, bytesMax = inflatedBytesMax): Uint8Array {
  if (bytes.length === 0) throw new UnreadableProfile('it is empty');
  const gzipped = bytes[0] === 0x1f && bytes[1] === 0x8b;
  if (!gzipped) {
    if (bytes.length > bytesMax) throw new UnreadableProfile(`it has more than ${bytesMax} bytes`);
    return bytes;
  }
  try {
    return gunzipSync(bytes, { maxOutputLength: bytesMax, chunkSize: Math.min(inflateChunkBytes, bytesMax) });
  } catch (error) {
    const tooLarge = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    throw new UnreadableProfile(tooLarge ? `it inflates to more than ${bytesMax} bytes` : `its gzip is damaged (${(error as Error).message})`);
  }
}

/**
 * A pprof profile from its bytes, gzipped or plain, of at most `inflatedBytesMax` bytes inflated. Throws UnreadableProfile on anything else.
 * Signed fields (values, times, the period) come out signed, which pprof-format alone does not do; numbers are bigint only beyond 2^53.
 */
export function decodeProfile(bytes: Uint8Array): Profile {
  const plain = inflateProfile(bytes);
  // pprof-format reads a truncated message without complaint: our own reader, which is strict and fast, goes over it first.
  readCallTree(plain, new CallTreeBuilder(), { column: 'self' });
  const profile = decodeAll(plain);
  for (const sample of profile.sample) {
    sample.value = sample.value.map(signed);
    sample.locationId = sample.locationId.map(unsigned);
    for (const label of sample.label) label.num = signed(label.num);
  }
  for (const location of profile.location) {
    for (const field of ['id', 'mappingId', 'address'] as const) location[field] = unsigned(location[field]);
    for (const line of location.line) {
      line.functionId = unsigned(line.functionId);
      line.line = signed(line.line);
      line.column = signed(line.column);
    }
  }
  for (const mapping of profile.mapping) {
    for (const field of ['id', 'memoryStart', 'memoryLimit', 'fileOffset'] as const) mapping[field] = unsigned(mapping[field]);
  }
  for (const entry of profile.function) {
    entry.id = unsigned(entry.id);
    entry.startLine = signed(entry.startLine);
  }
  for (const field of ['timeNanos', 'durationNanos', 'period'] as const) profile[field] = signed(profile[field]);
  return profile;
}

/** What our reader skips, such as labels and mappings, can still be damaged. */
function decodeAll(plain: Uint8Array): Profile {
  try {
    return Profile.decode(plain);
  } catch (error) {
    throw new UnreadableProfile((error as Error).message);
  }
}

/** Gzipped pprof bytes. Encoding gives other work its turn between sections, compression runs on the thread pool. */
export async function encodeProfile(profile: Profile): Promise<Buffer> {
  return deflate(await profile.encodeAsync());
}

/** int64 as pprof-format reads it (unsigned, bigint from five bytes on) to a number, or a bigint where a number would be inexact. */
function signed(value: Numeric): Numeric {
  return typeof value === 'number' ? value : numberIfExact(BigInt.asIntN(64, value));
}

function unsigned(value: Numeric): Numeric {
  return typeof value === 'number' ? value : numberIfExact(BigInt.asUintN(64, value));
}

/** A number where it is exact, so that equal values are equal keys of a Map. */
export function numberIfExact(value: bigint): Numeric {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
