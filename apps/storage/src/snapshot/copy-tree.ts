import { constants } from 'node:fs';
import { copyFile, mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface CopyOptions {
  readonly signal?: AbortSignal;
  /** After every file, with its bytes. */
  onFile(path: string, bytes: number): void;
}

/** Copies the named files (paths with `/`) from one folder to another, making the folders that are missing, for this user alone. */
export async function copyFiles(from: string, to: string, files: readonly string[], { signal, onFile }: CopyOptions): Promise<void> {
  for (const path of files) {
    signal?.throwIfAborted();
    await mkdir(dirname(join(to, path)), { recursive: true, mode: 0o700 });
    await copyFile(join(from, path), join(to, path), constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    onFile(path, (await stat(join(to, path))).size);
  }
}
