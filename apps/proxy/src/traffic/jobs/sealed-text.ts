import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

/*
 * A password on its way from one proxy node to another. The node listeners' traffic is protected by the cluster secret and not encrypted, and a
 * password of a database shall not be read by whoever listens on that network.
 */

const [ivBytes, tagBytes] = [12, 16];

/** Base64 of IV, tag, ciphertext. */
export function sealText(text: string, clusterSecret: string): string {
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv('aes-256-gcm', keyOf(clusterSecret), iv);
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), sealed]).toString('base64');
}

/** Throws on what was sealed under another secret, or was changed. */
export function openText(sealed: string, clusterSecret: string): string {
  const bytes = Buffer.from(sealed, 'base64');
  const decipher = createDecipheriv('aes-256-gcm', keyOf(clusterSecret), bytes.subarray(0, ivBytes));
  decipher.setAuthTag(bytes.subarray(ivBytes, ivBytes + tagBytes));
  return Buffer.concat([decipher.update(bytes.subarray(ivBytes + tagBytes)), decipher.final()]).toString('utf8');
}

function keyOf(clusterSecret: string): Buffer {
  return Buffer.from(hkdfSync('sha256', clusterSecret, '', 'binnacle traffic explain account', 32));
}
