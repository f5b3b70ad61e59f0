/** The files of the log contradict what is known to have been written: the node must not start on them. */
export class LogCorruptionError extends Error {
  override readonly name = 'LogCorruptionError';
}

/** A reader asked for versions whose segments are gone: it has to begin anew, from the rows themselves. */
export class LogTrimmedError extends Error {
  override readonly name = 'LogTrimmedError';
}
