import { expect, test } from '@jest/globals';
import { inChild } from '../test/in-child.js';

test('V8 may be in the middle of optimising any function when a capture begins', async () => {
  const tries = await inChild<number>(
    `const { keepNamesOfHotCode } = await load('hot-code');
    const { setFlagsFromString } = await import('node:v8');
    let tries = 0;
    for (const endMs = performance.now() + 2_000; performance.now() < endMs || tries <= 20; tries++) {
      // Each a new one, so that it is optimised while its loop runs, and at one point of that the capture begins.
      const busy = new Function('begin', 'at', 'let x = ' + tries + '; for (let i = 0; i < 40_000; i++) { x = (x * 31 + i) % 1_000_003; if (i === at) begin(); } return x;');
      busy(keepNamesOfHotCode, (tries * 137) % 20_000);
      for (const flag of ['--maglev-osr', '--maglev-inlining']) setFlagsFromString(flag);
    }
    answer(tries);`,
  );
  expect(tries).toBeGreaterThan(20);
});
