/** A body that is no message: broken, of another encoding, or beyond a limit. The sender is told nothing but the status; the reason is for the log. */
export class BadMessage extends Error {
  override readonly name: string = 'BadMessage';
}

/** It would inflate to more than it may. */
export class MessageTooLong extends BadMessage {
  override readonly name = 'MessageTooLong';

  constructor(bytesMax: number) {
    super(`it inflates to more than ${bytesMax} bytes`);
  }
}
