import { open } from 'node:fs/promises';

export const keyBytes = 32;

/** The key of aes256-ctr: the first 32 bytes of the file as they are, so that a newline at the end does no harm. Rejects with an Error that says what is wrong. */
export async function readKeyFile(path: string): Promise<Buffer> {
  const file = await open(path).catch((cause: NodeJS.ErrnoException) => {
    throw new Error(`the encryption key ${path} cannot be read (${cause.code})`, { cause });
  });
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(keyBytes), 0, keyBytes, 0);
    if (bytesRead < keyBytes) throw new Error(`the encryption key ${path} has ${bytesRead} bytes; aes256-ctr needs ${keyBytes}`);
    return buffer;
  } finally {
    await file.close();
  }
}
