import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';
import { constants, createGunzip, createGzip, gunzipSync } from 'node:zlib';

const method = 'aes-256-ctr';
export const ivBytes = 16;
/** How much of the front of a file tells its layers. */
export const headBytes = 4_096;
const headPlainBytesMax = 8 * 2 ** 20;
const pieceBytes = 256 * 1_024;

/** Which comes first when writing. TiProxy's releases encrypt first, which leaves nothing to compress; only some nightlies of late 2024 did not. */
export type LayerOrder = 'compress-first' | 'encrypt-first';

export interface Layers {
  readonly isCompressed: boolean;
  /** 32 bytes. Absent: not encrypted. */
  readonly key?: Buffer;
  readonly order: LayerOrder;
}

/** What plain bytes go through on their way to the file. What was written is in the file when the next is: a process may be killed at any time. */
export function writingStreams({ isCompressed, key, order }: Layers): Transform[] {
  const gzip = isCompressed ? [createGzip({ level: constants.Z_BEST_SPEED, flush: constants.Z_SYNC_FLUSH, chunkSize: pieceBytes })] : [];
  const cipher = key ? [new CounterEncryption(key)] : [];
  return order === 'compress-first' ? [...gzip, ...cipher] : [...cipher, ...gzip];
}

/** The other way round. A file that ends too early gives what there is of it. */
export function readingStreams({ isCompressed, key, order }: Layers): Transform[] {
  const gunzip = isCompressed ? [createGunzip({ finishFlush: constants.Z_SYNC_FLUSH, chunkSize: pieceBytes })] : [];
  const decipher = key ? [new CounterDecryption(key)] : [];
  return order === 'compress-first' ? [...decipher, ...gunzip] : [...gunzip, ...decipher];
}

/** What the front of a file shows: its layers, or why they cannot be told. */
export type FoundLayers = Layers | 'key-needed' | 'key-does-not-fit' | 'unknown';

/**
 * Tells the layers of a file of records or results from its first bytes, `headBytes` or all there are: the plain text begins `# `. The method is not in the
 * file: without a key, a file whose start means nothing may be encrypted.
 */
export function findLayers(head: Buffer, key: Buffer | undefined): FoundLayers {
  if (isPlain(head)) return { isCompressed: false, order: 'compress-first' };
  const unzipped = unzippedHead(head);
  if (unzipped !== undefined && isPlain(unzipped)) return { isCompressed: true, order: 'compress-first' };
  if (key === undefined) return unzipped === undefined ? 'unknown' : 'key-needed';
  if (unzipped !== undefined && isPlain(decryptedHead(unzipped, key))) return { isCompressed: true, key, order: 'encrypt-first' };
  // Also when it begins as gzip does: one IV in 16 million.
  const decrypted = decryptedHead(head, key);
  if (isPlain(decrypted)) return { isCompressed: false, key, order: 'compress-first' };
  const inner = unzippedHead(decrypted);
  if (inner !== undefined && isPlain(inner)) return { isCompressed: true, key, order: 'compress-first' };
  return 'key-does-not-fit';
}

/** Nothing at all may have been written yet. */
function isPlain(head: Buffer): boolean {
  return head.length === 0 || (head[0] === 0x23 && (head.length === 1 || head[1] === 0x20));
}

/** Undefined: not gzip. */
function unzippedHead(head: Buffer): Buffer | undefined {
  if (head[0] !== 0x1f || head[1] !== 0x8b) return undefined;
  try {
    return gunzipSync(head, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: headPlainBytesMax });
  } catch {
    return undefined;
  }
}

function decryptedHead(head: Buffer, key: Buffer): Buffer {
  if (head.length <= ivBytes) return Buffer.alloc(0);
  return createDecipheriv(method, key, head.subarray(0, ivBytes)).update(head.subarray(ivBytes));
}

/** A new IV, and behind it what is written, encrypted. */
class CounterEncryption extends Transform {
  readonly #cipher;

  constructor(key: Buffer) {
    super();
    const iv = randomBytes(ivBytes);
    this.#cipher = createCipheriv(method, key, iv);
    this.push(iv);
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    done(null, this.#cipher.update(chunk));
  }
}

class CounterDecryption extends Transform {
  #decipher: ReturnType<typeof createDecipheriv> | undefined;
  #start = Buffer.alloc(0);

  constructor(private readonly key: Buffer) {
    super();
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    if (this.#decipher === undefined) {
      this.#start = Buffer.concat([this.#start, chunk]);
      if (this.#start.length <= ivBytes) return done();
      this.#decipher = createDecipheriv(method, this.key, this.#start.subarray(0, ivBytes));
      chunk = this.#start.subarray(ivBytes);
    }
    done(null, this.#decipher.update(chunk));
  }
}
