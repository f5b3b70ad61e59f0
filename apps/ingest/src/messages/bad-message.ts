/** A body that is no message: broken, of another encoding, or beyond a limit. The sender is told nothing but the status; the reason is for the log. */
export class BadMessage extends Error {
  override readonly name = 'BadMessage';
}
