import type { LogBatch } from './log-record.js';

/**
 * The operations with versions `fromVersion` to `toVersion`, both inclusive, in their order. Reads the files, so it works in any
 * thread or process, also while the log is written to, as long as `toVersion` is durable. A batch that begins before
 * `fromVersion` comes without its head.
 *
 * Throws `LogTrimmedError` when `fromVersion` is no longer in the log, `LogCorruptionError` on a damaged file.
 */
// eslint-disable-next-line require-yield
export async function* readLog(folder: string, fromVersion: number, toVersion: number): AsyncGenerator<LogBatch> {
  throw new Error(`${folder} ${fromVersion} ${toVersion}`);
}
