import { setImmediate as nextTurn } from 'node:timers/promises';

/** A sender that never stops must not keep a node from stopping. */
const quietMsMax = 500;

/** Resolves when a whole turn of the event loop has passed in which nothing arrived, as the growing number tells: what the kernel held has been taken. */
export async function untilQuiet(arrived: () => number): Promise<void> {
  const endMs = performance.now() + quietMsMax;
  for (let before = -1; before !== arrived() && performance.now() < endMs; ) {
    before = arrived();
    // The first one may come before the sockets are looked at.
    await nextTurn();
    await nextTurn();
  }
}
