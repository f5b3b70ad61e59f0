/** What an idle socket reads into. Most statements and answers of OLTP fit; two of these are a good part of what an idle session weighs. */
const smallBytes = 2_048;
/** What a socket reads into once it was given more than a small buffer holds: as much as a kernel commonly hands out at once. */
export const largeBytes = 65_536;

/** How many free ones this thread keeps: 2 and 4 MB. */
const smallKeptMax = 1_024;
const largeKeptMax = 64;
/** While fewer large ones than this are out, a socket keeps its own when it has read everything: 16 MB save the next result a second read. */
const largeOutFewMax = 256;

const smallFree: Buffer[] = [];
const largeFree: Buffer[] = [];
let largeOut = 0;

/**
 * The read buffers of this thread. Whoever gives one back vouches that nobody, the kernel included, uses its memory any more:
 * the next session reads into it. One that was given away with bytes in it is never given back; `lost` keeps the count of large ones true.
 */
export function takeSmall(): Buffer {
  return smallFree.pop() ?? Buffer.allocUnsafeSlow(smallBytes);
}

export function takeLarge(): Buffer {
  largeOut++;
  return largeFree.pop() ?? Buffer.allocUnsafeSlow(largeBytes);
}

/** Whether there are so many large ones out that one which is not full should be given back. */
export function largeAreScarce(): boolean {
  return largeOut > largeOutFewMax;
}

export function lost(buffer: Buffer): void {
  if (buffer.length === largeBytes) largeOut--;
}

export function giveBack(buffer: Buffer): void {
  if (buffer.length === smallBytes) {
    if (smallFree.length < smallKeptMax) smallFree.push(buffer);
  } else {
    largeOut--;
    if (largeFree.length < largeKeptMax) largeFree.push(buffer);
  }
}
