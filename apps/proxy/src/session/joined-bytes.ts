/** A chunk and what a translator puts in. */
const joinedBytesMax = 73_728;

/** One for all sessions of the thread: what is written at once leaves it free for the next. */
let scratch = Buffer.allocUnsafeSlow(joinedBytesMax);

/**
 * The pieces as one buffer, so that they cost one write: it is copied into memory that the next call uses again. Whoever wrote it and finds it still in use
 * says so by `joinedIsInUse`.
 */
export function join(pieces: readonly Buffer[]): Buffer {
  let bytes = 0;
  for (const piece of pieces) bytes += piece.length;
  if (bytes > scratch.length) return Buffer.concat(pieces, bytes);
  let at = 0;
  for (const piece of pieces) {
    scratch.set(piece, at);
    at += piece.length;
  }
  return scratch.subarray(0, bytes);
}

/** What `join` gave last is not to be touched any more. */
export function joinedIsInUse(): void {
  scratch = Buffer.allocUnsafeSlow(joinedBytesMax);
}
