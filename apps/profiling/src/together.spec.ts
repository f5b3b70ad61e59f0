import { expect, test } from '@jest/globals';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { CapturedProfile } from './captured-profile.js';
import { captureTogether } from './together.js';

const merged = { parts: [] as string[], comments: [] as readonly string[] };
const renderer = {
  async merge(parts: readonly { node: string; pprof: Uint8Array }[], comments: readonly string[] = []): Promise<Buffer> {
    merged.parts = parts.map(({ node, pprof }) => `${node}=${Buffer.from(pprof).toString()}`).sort();
    merged.comments = comments;
    return Buffer.from('merged');
  },
};

const captured = (node: string, startedAtMs: number): CapturedProfile => ({ node, kind: 'cpu', startedAtMs, durationMs: 1_000, pprof: Buffer.from(`of ${node}`) });
const unreachable = new BinnacleError('UPSTREAM_UNREACHABLE', 'node n1 cannot be asked: ECONNREFUSED');

test('all are captured at the same time and merged into one', async () => {
  const waiting: (() => void)[] = [];
  const together = captureTogether(
    ['n0', 'n1'],
    async (nodeId) => {
      await new Promise<void>((resolve) => waiting.push(resolve));
      return captured(nodeId, nodeId === 'n0' ? 5_000 : 5_300);
    },
    renderer,
  );
  expect(waiting).toHaveLength(2);
  waiting.forEach((resolve) => resolve());
  expect(await together).toEqual({ captured: { node: '*', kind: 'cpu', startedAtMs: 5_000, durationMs: 1_300, pprof: Buffer.from('merged') }, failed: [] });
  expect(merged).toEqual({ parts: ['n0=of n0', 'n1=of n1'], comments: [] });
});

test('a node that fails is left out and named, with what a client may know of the reason', async () => {
  const result = await captureTogether(
    ['n2', 'n0', 'n1'],
    async (nodeId) => {
      if (nodeId === 'n1') throw unreachable;
      if (nodeId === 'n2') throw new TypeError('password=s3cret');
      return captured(nodeId, 0);
    },
    renderer,
  );
  expect(result.failed).toEqual(['n1', 'n2']);
  expect(merged.parts).toEqual(['n0=of n0']);
  expect(merged.comments).toEqual([`node n1 is not in it: ${unreachable.message}`, 'node n2 is not in it: it failed']);
});

test('when all fail it is the error of the first, with all reasons, each once', async () => {
  const missing = (nodeId: string) => new BinnacleError('CAPABILITY_MISSING', `node ${nodeId}: there is no jemalloc`);
  const failing = captureTogether(['n2', 'n1', 'n0'], async (nodeId) => Promise.reject(nodeId === 'n1' ? unreachable : missing(nodeId)), renderer);
  await expect(failing).rejects.toMatchObject({
    code: 'CAPABILITY_MISSING',
    message: `no node could be captured: n0, n2: there is no jemalloc; n1: ${unreachable.message}`,
  });
});

test('without any node, and with too many, there is nothing to capture', async () => {
  const never = (): Promise<never> => Promise.reject(new Error('must not be called'));
  await expect(captureTogether([], never, renderer)).rejects.toMatchObject({ code: 'NO_TARGET' });
  await expect(captureTogether(Array(1_001).fill('n'), never, renderer)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
});

test('what would be too much to merge is left out', async () => {
  const large = Buffer.alloc(200 * 2 ** 20);
  const result = await captureTogether(['n0', 'n1'], async (nodeId) => ({ ...captured(nodeId, 0), pprof: large }), { merge: async () => Buffer.alloc(0) });
  expect(result.failed).toHaveLength(1);
});
