import { constants, generateKeyPair, privateDecrypt, publicEncrypt, timingSafeEqual, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { digest, xor } from './scramble.js';

export const cachingSha2Password = 'caching_sha2_password';

/** The client's request for the server's public key, without TLS: the whole payload. */
export const publicKeyRequest = Buffer.from([2]);
/** The server's words, in authentication data packets. */
export const fastSucceeded = Buffer.from([3]);
export const fullRequired = Buffer.from([4]);

/** SHA256 of the password, 32 bytes: as secret as the password itself. */
export function sha2Stage1(password: string): Buffer {
  return digest('sha256', Buffer.from(password));
}

/** The client's first reply: SHA256(password) XOR SHA256(SHA256(SHA256(password)), scramble). An empty password's reply is empty. */
export function sha2Reply(stage1: Uint8Array, scramble: Uint8Array): Buffer {
  return xor(stage1, digest('sha256', digest('sha256', stage1), scramble));
}

/**
 * Checks the fast reply against SHA256(SHA256(password)), which whoever saw a full authentication can compute.
 * Gives SHA256(password) when it is right, undefined when it is not.
 */
export function verifySha2(reply: Uint8Array, scramble: Uint8Array, cachedHash: Uint8Array): Buffer | undefined {
  if (reply.length !== 32 || cachedHash.length !== 32) return undefined;
  const stage1 = xor(reply, digest('sha256', cachedHash, scramble));
  return timingSafeEqual(digest('sha256', stage1), cachedHash) ? stage1 : undefined;
}

function withScramble(text: Uint8Array, scramble: Uint8Array): Buffer {
  return Buffer.from(text.map((byte, index) => byte ^ scramble[index % scramble.length]!));
}

const padding = constants.RSA_PKCS1_OAEP_PADDING;

/** Full authentication without TLS: the password with its NUL, XOR the scramble, by the server's PEM key. */
export function encryptPassword(password: string, scramble: Uint8Array, publicKeyPem: string | Buffer): Buffer {
  return publicEncrypt({ key: publicKeyPem, padding }, withScramble(Buffer.from(`${password}\0`), scramble));
}

/** The server's side of it; undefined if the bytes were not made with its key. */
export function decryptPassword(encrypted: Buffer, scramble: Uint8Array, privateKey: KeyObject): string | undefined {
  try {
    const text = withScramble(privateDecrypt({ key: privateKey, padding }, encrypted), scramble);
    return text.at(-1) === 0 ? text.toString('utf8', 0, text.length - 1) : undefined;
  } catch {
    return undefined;
  }
}

/** A key pair of 2048 bits for `decryptPassword`; made once a process, it takes some 100 ms of another thread. */
export async function newRsaKeys(): Promise<{ privateKey: KeyObject; publicKeyPem: Buffer }> {
  const { privateKey, publicKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2_048 });
  return { privateKey, publicKeyPem: Buffer.from(publicKey.export({ type: 'spki', format: 'pem' })) };
}
