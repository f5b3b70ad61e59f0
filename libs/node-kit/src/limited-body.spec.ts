import { expect, test } from '@jest/globals';
import { Readable } from 'node:stream';
import { limitedBody } from './limited-body.js';

const body = (): Readable => Readable.from([Buffer.from('ab'), Buffer.from('cd')]);

test('a body of as many bytes as may be is read, and a longer one is ended at once', async () => {
  expect((await limitedBody(body(), 4, 'its answer')).toString()).toBe('abcd');
  const longer = body();
  await expect(limitedBody(longer, 3, 'its answer')).rejects.toThrow('its answer is longer than 3 bytes');
  expect(longer.destroyed).toBe(true);
});
