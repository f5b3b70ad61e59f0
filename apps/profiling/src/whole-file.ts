import { open, rename, rm } from 'node:fs/promises';

/** Ends the name of a file that is being written; what is left of such after a crash is deleted at the start. */
export const unfinished = '.unfinished';

/** Writes a file that is there as a whole or not at all, also after a crash. Rejects with what the file system says. */
export async function writeWholeFile(path: string, bytes: Buffer): Promise<void> {
  const draft = path + unfinished;
  try {
    const file = await open(draft, 'w', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true }).catch(() => undefined);
    throw error;
  }
}

export function isDiskFull(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ENOSPC' || code === 'EDQUOT';
}
