import { lstat, realpath } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';

/**
 * The path as the kernel will understand it: of what does not exist yet, that of the deepest folder which does and the rest. Rejects with what the
 * file system says, also of a link that leads nowhere: what would be made at its end is not where the path says.
 */
export async function pathWithoutLinks(path: string): Promise<string> {
  const missing: string[] = [];
  for (let folder = path; ; folder = dirname(folder)) {
    const isThere = await lstat(folder).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return false;
        throw error;
      },
    );
    if (isThere) return join(await realpath(folder), ...missing);
    missing.unshift(basename(folder));
  }
}

/** Whether the path is the folder or lies below it. Links are not looked at. */
export function isWithin(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`);
}
