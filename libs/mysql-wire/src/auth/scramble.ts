import { createHash, randomBytes } from 'node:crypto';

export const scrambleBytes = 20;

/** A server's salt for one login: 20 bytes from 1 to 127 without `$`, since some clients read it as text up to a NUL. */
export function newScramble(): Buffer {
  const scramble = randomBytes(scrambleBytes);
  for (let i = 0; i < scramble.length; i++) {
    const byte = scramble[i]! & 0x7f;
    scramble[i] = byte === 0 || byte === 0x24 ? byte + 1 : byte;
  }
  return scramble;
}

export function digest(algorithm: 'sha1' | 'sha256', ...parts: Uint8Array[]): Buffer {
  const hash = createHash(algorithm);
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** Of buffers of the same length. */
export function xor(a: Uint8Array, b: Uint8Array): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ b[index]!));
}
