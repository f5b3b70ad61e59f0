import { timingSafeEqual } from 'node:crypto';

/**
 * Compares a text somebody sent with a secret, in a time that tells nothing of the secret: always all of its bytes, whatever was sent. On the way
 * of every request, so without hashing.
 */
export function secretCheck(secret: string): (given: string | string[] | undefined) => boolean {
  const expected = Buffer.from(secret);
  const received = Buffer.alloc(expected.length);
  return (given) => {
    if (typeof given !== 'string') return false;
    received.fill(0).write(given);
    const isEqual = timingSafeEqual(received, expected);
    return isEqual && Buffer.byteLength(given) === expected.length;
  };
}
