import { constants } from 'node:fs';
import { copyFile, link, mkdir, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** What the file systems say that cannot link between these two folders, or not at all. */
const linkRefusals = new Set(['EXDEV', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK', 'ENOSYS']);

/**
 * The files of a suspended engine in another folder: tables, which never change, as hard links; the rest, which is small after a
 * flush, as copies. Where links cannot be, tables are copied too. Resolves to the names of what was copied and is not on disk yet.
 */
export async function linkEngineFiles(from: string, to: string): Promise<string[]> {
  await mkdir(to, { recursive: true });
  const copied: string[] = [];
  for (const name of await readdir(from)) {
    if (name === 'LOCK' || name.startsWith('LOG')) continue;
    if (name.endsWith('.sst') && (await linked(join(from, name), join(to, name)))) continue;
    await copyFile(join(from, name), join(to, name), constants.COPYFILE_FICLONE);
    copied.push(name);
  }
  return copied;
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (linkRefusals.has((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}

/** Makes the named files of a folder, and the names themselves, durable. */
export async function syncFiles(folder: string, names: readonly string[]): Promise<void> {
  for (const name of [...names, '.']) {
    const handle = await open(join(folder, name), 'r');
    await handle.sync().finally(() => handle.close());
  }
}
