/** The files of the log contradict what is known to have been written: the node must not start on them. */
export class LogCorruptionError extends Error {
  override readonly name = 'LogCorruptionError';

  constructor(file: string, offset: number, what: string) {
    super(`${file} is damaged at byte ${offset}: ${what}. Keep the file, and restore the node from a snapshot: binnacle restore SNAPSHOT --data-dir DIR`);
  }
}

/** A reader asked for versions whose segments are gone: it has to begin anew, from the rows themselves. */
export class LogTrimmedError extends Error {
  override readonly name = 'LogTrimmedError';
}
