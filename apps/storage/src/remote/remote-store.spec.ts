import { afterAll, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NodeConfig } from '@binnacle/node-kit/config';
import { ConfigError } from '@binnacle/node-kit/config-error';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { RemoteStore } from './remote-store.js';

const folder = await mkdtemp(join(tmpdir(), 'binnacle-remote-store-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

function remoteStore(change: (config: NodeConfig) => void = () => {}): { remote: RemoteStore; warnings: string[] } {
  const config = new NodeConfig();
  config.dataDir = folder;
  change(config);
  const warnings: string[] = [];
  const log = { info() {}, warn: (_: unknown, text: string) => void warnings.push(text) };
  return { remote: new RemoteStore({ config, log, addPart() {} } as unknown as NodeContext), warnings };
}

test('on embedded state it is a folder in the data folder, open from start to stop', async () => {
  const { remote } = remoteStore();
  expect(remote.isOn()).toBe(true);
  expect(() => remote.store()).toThrow('not open');
  await remote.start();
  await remote.store().put('a/b', Buffer.from('x'));
  expect(existsSync(join(folder, 'remote/a/b'))).toBe(true);
  await remote.stop();
  expect(() => remote.store()).toThrow('not open');
});

test('with Redis and no address it is off and says what to set', async () => {
  const { remote } = remoteStore((config) => (config.redis.url = 'redis://127.0.0.1'));
  expect(remote.isOn()).toBe(false);
  await remote.start();
  expect(() => remote.store()).toThrow('BINNACLE_REMOTE_URL');
});

test('an address that cannot be used keeps the node from starting', async () => {
  const { remote } = remoteStore((config) => (config.remote.url = 'ftp://somewhere'));
  await expect(remote.start()).rejects.toThrow(ConfigError);
});

test('a store that does not answer does not', async () => {
  process.env['AWS_ACCESS_KEY_ID'] = process.env['AWS_SECRET_ACCESS_KEY'] = 'test-only';
  const { remote, warnings } = remoteStore((config) => {
    Object.assign(config.remote, { url: 's3://bucket', s3Endpoint: 'http://127.0.0.1:1', s3ForcePathStyle: true, timeoutMs: 1_000 });
  });
  await remote.start();
  expect(warnings).toEqual([expect.stringContaining('does not answer')]);
  expect(remote.store().url).toBe('s3://bucket/');
  await remote.stop();
});
