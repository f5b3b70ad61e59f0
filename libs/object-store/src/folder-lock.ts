import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';

const busy = 5; // SQLITE_BUSY
const waitMsMax = 4;

/**
 * A lock between processes. The operating system gives it back when its holder dies, whatever way: a lock file with a holder's name in it
 * would have to be taken from the dead, and a number of a process says little about that in containers. Node has no flock(2), but SQLite
 * locks its file with fcntl(2) (and the equal elsewhere), between connections of one process as well; the database holds nothing.
 */
export class FolderLock {
  readonly #database: DatabaseSync;

  private constructor(path: string) {
    this.#database = new DatabaseSync(path);
  }

  static async open(path: string, signal?: AbortSignal): Promise<FolderLock> {
    const lock = new FolderLock(path);
    try {
      // An empty database would be given its first page, and a journal for it, under every lock.
      await lock.#retryBusy(() => lock.#database.exec('CREATE TABLE IF NOT EXISTS lock (unused)'), signal);
    } catch (error) {
      lock.close();
      throw error;
    }
    return lock;
  }

  /** Runs it while nobody else runs anything under this lock. It is synchronous, so that a busy event loop does not keep others waiting. */
  async hold<T>(action: () => T, signal?: AbortSignal): Promise<T> {
    return this.#retryBusy(() => {
      // Begin and end in one turn: a connection has one transaction, and others in this process wait for the lock as well.
      this.#database.exec('BEGIN EXCLUSIVE');
      try {
        return action();
      } finally {
        this.#database.exec('ROLLBACK');
      }
    }, signal);
  }

  close(): void {
    this.#database.close();
  }

  async #retryBusy<T>(step: () => T, signal: AbortSignal | undefined): Promise<T> {
    for (;;) {
      signal?.throwIfAborted();
      try {
        return step();
      } catch (error) {
        if (((error as { errcode?: number }).errcode ?? 0) % 256 !== busy) throw error;
      }
      await delay(Math.random() * waitMsMax, undefined, signal ? { signal } : {});
    }
  }
}
