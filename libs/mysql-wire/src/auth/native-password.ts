import { timingSafeEqual } from 'node:crypto';
import { digest, xor } from './scramble.js';

export const nativePassword = 'mysql_native_password';

/** What stands for the password everywhere here: SHA1 of it, 20 bytes. As secret as the password itself. */
export function nativeStage1(password: string): Buffer {
  return digest('sha1', Buffer.from(password));
}

/** The stored form: SHA1(SHA1(password)), 20 bytes, from `*` and 40 hexadecimal digits as servers show it. Undefined if it is not that. */
export function parseNativeHash(text: string): Buffer | undefined {
  return /^\*[0-9a-f]{40}$/i.test(text) ? Buffer.from(text.slice(1), 'hex') : undefined;
}

/** The client's reply to a scramble: SHA1(password) XOR SHA1(scramble, SHA1(SHA1(password))). An empty password's reply is empty: not made here. */
export function nativeReply(stage1: Uint8Array, scramble: Uint8Array): Buffer {
  return xor(stage1, digest('sha1', scramble, digest('sha1', stage1)));
}

/**
 * Checks a client's reply against the stored hash. What it gives when the reply is right is SHA1(password), with which `nativeReply` logs in
 * at another server: keep it in memory only. Undefined when the reply is wrong.
 */
export function verifyNative(reply: Uint8Array, scramble: Uint8Array, storedHash: Uint8Array): Buffer | undefined {
  if (reply.length !== 20 || storedHash.length !== 20) return undefined;
  const stage1 = xor(reply, digest('sha1', scramble, storedHash));
  return timingSafeEqual(digest('sha1', stage1), storedHash) ? stage1 : undefined;
}
