import { expect, test } from '@jest/globals';
import { startCeph } from './ceph.js';

test('an S3 of its own answers, and is gone after the stop', async () => {
  const startedAt = performance.now();
  const ceph = await startCeph();
  expect(performance.now() - startedAt).toBeLessThan(20_000);
  expect((await fetch(ceph.endpoint)).status).toBe(200);
  await ceph.stop();
  await expect(fetch(ceph.endpoint)).rejects.toThrow();
}, 60_000);
