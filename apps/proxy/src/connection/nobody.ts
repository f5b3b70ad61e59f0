import type { ByteChannel } from './byte-channel.js';

const ignore = (): void => {};
const refuse = (): boolean => false;
/** A peer that was told to go and neither closes nor takes what it was told is cut off. */
const goneWithinMs = 5_000;

function disown(channel: ByteChannel): void {
  channel.onBytes = refuse;
  channel.onDrain = ignore;
  channel.onEnd = ignore;
  channel.onClosed = ignore;
}

/** Pauses a channel until its next owner has set its callbacks. What the peer sends waits in the kernel, its leaving too: look at `closed`. */
export function leave(channel: ByteChannel): void {
  channel.pause();
  disown(channel);
}

/** Whether nobody owns it since `leave`. */
export function isLeft(channel: ByteChannel): boolean {
  return channel.onBytes === refuse;
}

/** Says the last thing and sees the channel closed, whatever the peer does; what still comes from it is read and dropped. */
export function closeSoon(channel: ByteChannel, last?: Buffer): void {
  if (channel.closed) return;
  disown(channel);
  const timer = setTimeout(() => channel.destroy(), goneWithinMs).unref();
  channel.onClosed = () => clearTimeout(timer);
  channel.resume();
  channel.end(last);
}
