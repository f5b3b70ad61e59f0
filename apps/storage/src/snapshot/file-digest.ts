import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readSync } from 'node:fs';

const chunk = Buffer.allocUnsafeSlow(2 ** 20);

/** Bytes and SHA-256 (hexadecimal) of a file. Waits for the disk: for threads and command lines, not for event loops. */
export function digestFile(path: string, onBytes = (_bytes: number): void => {}): { bytes: number; sha256: string } {
  const file = openSync(path, 'r');
  try {
    const hash = createHash('sha256');
    let bytes = 0;
    for (;;) {
      const read = readSync(file, chunk, 0, chunk.length, null);
      if (read === 0) break;
      hash.update(read === chunk.length ? chunk : chunk.subarray(0, read));
      bytes += read;
      onBytes(read);
    }
    return { bytes, sha256: hash.digest('hex') };
  } finally {
    closeSync(file);
  }
}

/** Makes a file, or the names in a folder, durable. */
export function syncPath(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
