import { constants } from 'node:os';
import koffi from 'koffi';

/** Frees blocks of an open file, which read as zeros from then on. Resolves to false where the system cannot; rejects on a disk error. */
export type PunchHole = (fd: number, offset: number, length: number) => Promise<boolean>;

/** FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE. */
const punchKeepingSize = 3;
const notSupported = new Set([constants.errno.EOPNOTSUPP, constants.errno.ENOSYS, constants.errno.ENODEV]);

type Fallocate = { async: (fd: number, mode: number, offset: number, length: number, done: (error: Error | null, result: number) => void) => void };

/** Linux' fallocate(2), in a thread of the pool: a journal that is being written may keep it for long. */
export function systemPunchHole(): PunchHole {
  const fallocate = loadFallocate();
  if (fallocate === undefined) return async () => false;
  return async (fd, offset, length) =>
    new Promise((resolve, reject) => {
      fallocate.async(fd, punchKeepingSize, offset, length, (error, result) => {
        const errno = koffi.errno();
        if (error !== null) reject(error);
        else if (result === 0) resolve(true);
        else if (notSupported.has(errno)) resolve(false);
        else reject(Object.assign(new Error(`fallocate failed with errno ${errno}`), { errno }));
      });
    });
}

function loadFallocate(): Fallocate | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    return koffi.load(null).func('int fallocate(int fd, int mode, int64_t offset, int64_t length)') as Fallocate;
  } catch {
    return undefined;
  }
}
