import { ObjectStoreUnavailable, ObjectStoreUnusable } from './object-store.js';

export function isErrno(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException | undefined)?.code ?? '');
}

/** For `.catch`: undefined where there is nothing. A key below one that is an object is nothing either. */
export function missing(error: unknown): undefined {
  if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error;
}

const denied = ['EACCES', 'EPERM', 'EROFS', 'ENOTSUP', 'EOPNOTSUPP'];
const misused = ['ENOTDIR', 'EISDIR', 'EEXIST', 'ENOTEMPTY'];

/** What a file system said, in the words of the interface; any other error as it is. */
export function folderError(url: string, error: unknown): unknown {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  if (code === undefined || (syscall === undefined && code !== 'ERR_SQLITE_ERROR')) return error;
  if (denied.includes(code)) {
    return new ObjectStoreUnusable(
      `${url} cannot be used (${syscall}: ${code}): the folder must be writable for this process, on a file system with hard links`,
      { cause: error },
    );
  }
  if (misused.includes(code)) return new TypeError(`a key of ${url} is the folder of another key (${code})`, { cause: error });
  return new ObjectStoreUnavailable(`${url} failed (${syscall ?? 'lock'}: ${code})`, { cause: error });
}
