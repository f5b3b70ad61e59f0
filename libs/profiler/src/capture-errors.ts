/** Another capture of the same kind runs in this process, and there can be only one. */
export class ProfilerBusy extends Error {
  override readonly name = 'ProfilerBusy';
}

/** What the capture needs is not in this process. The message says how to get it there. */
export class CapabilityMissing extends Error {
  override readonly name = 'CapabilityMissing';
}

/** The capture needs something to be switched on first. The message says what. */
export class NotActivated extends Error {
  override readonly name = 'NotActivated';
}

/** The disk is full: the capture could not be written. */
export class OutOfDisk extends Error {
  override readonly name = 'OutOfDisk';
}
