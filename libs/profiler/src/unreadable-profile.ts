/** Bytes that are no pprof profile, or one beyond a limit. The message says what is wrong with it. */
export class UnreadableProfile extends Error {
  override readonly name = 'UnreadableProfile';

  constructor(reason: string) {
    super(`cannot read this profile: ${reason}`);
  }
}
