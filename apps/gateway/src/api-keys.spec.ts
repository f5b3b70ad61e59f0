import { ClusterStateUnavailable, type ClusterState } from '@binnacle/cluster-state/cluster-state';
import { EmbeddedClusterState } from '@binnacle/cluster-state/embedded-cluster-state';
import type { BinnacleError } from '@binnacle/contracts/errors';
import { NodeConfig } from '@binnacle/node-kit/config';
import type { NodePart } from '@binnacle/node-kit/node-context';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiKeys } from './api-keys.js';
import { keysMax } from './key-document.js';

const clock = new FakeClock();
let folder: string;
let state: EmbeddedClusterState;
const parts: NodePart[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'binnacle-keys-'));
  state = new EmbeddedClusterState(folder, clock);
});
afterEach(async () => {
  for (const part of parts.splice(0)) await part.stop?.();
  await state.close();
  await rm(folder, { recursive: true, force: true });
});

async function open(bootstrapKey = '', onState: ClusterState = state): Promise<ApiKeys> {
  const config = new NodeConfig();
  config.gateway.apiKey = bootstrapKey;
  const log = { info: () => undefined, error: () => undefined };
  const own: NodePart[] = [];
  const keys = new ApiKeys({ state: onState, clock, config, log, addPart: (part: NodePart) => own.push(part) } as never);
  for (const part of own) await part.start?.();
  parts.push(...own);
  return keys;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'no error',
    (error: BinnacleError) => error.code,
  );
}

test('a key that was made is known by its value, with the scopes it was given', async () => {
  const keys = await open();
  expect(keys.any()).toBe(false);
  const { key, value } = await keys.create({ actions: ['metrics.json:list'], description: 'monitoring' });
  expect(key).toMatchObject({ id: 0, description: 'monitoring', actions: ['metrics.json:list'], valuePrefix: value.slice(0, 4), expiresAtS: 64_723_363_199 });
  expect(value).toMatch(/^[\w-]{43}$/);
  expect(keys.verdict(value)).toEqual({ kind: 'valid', actions: ['metrics.json:list'] });
  expect(keys.verdict(`${value}x`)).toEqual({ kind: 'unknown' });
  expect(keys.any()).toBe(true);
});

test('what is stored holds no more of the value than four characters', async () => {
  const keys = await open();
  const { value } = await keys.create({ actions: ['*'] });
  const stored = (await state.readDocument('api-keys')).document?.value as string;
  expect(stored).toContain(`"${value.slice(0, 4)}"`);
  for (let at = 1; at + 4 <= value.length; at++) expect(stored).not.toContain(value.slice(at, at + 4 + 3));
});

test('the bootstrap key has every scope, before and after the first stored key brings a salt', async () => {
  const keys = await open('bootstrap-key');
  expect(keys.verdict('bootstrap-key')).toEqual({ kind: 'valid', actions: ['*'] });
  await keys.create({ actions: ['debug:list'] });
  expect(keys.verdict('bootstrap-key')).toEqual({ kind: 'valid', actions: ['*'] });
  expect(keys.list()).toHaveLength(1);
});

test('no key is no key: an empty text matches nothing', async () => {
  const keys = await open();
  expect(keys.verdict('')).toEqual({ kind: 'unknown' });
});

test('a value of ones own is kept, twice it is a conflict, and so is the bootstrap key', async () => {
  const bootstrap = 'b'.repeat(32);
  const keys = await open(bootstrap);
  const own = { actions: ['*'], value: 'v'.repeat(32) };
  expect((await keys.create(own)).value).toBe(own.value);
  expect(await codeOf(keys.create(own))).toBe('CONFLICT');
  expect(await codeOf(keys.create({ actions: ['*'], value: bootstrap }))).toBe('CONFLICT');
  expect(keys.list()).toHaveLength(1);
});

test('a revoked key is unknown at once here, and on another gateway as soon as it has read the change', async () => {
  const [here, there] = [await open(), await open()];
  const { key, value } = await here.create({ actions: ['*'] });
  await clock.advance(1_000);
  expect(there.verdict(value).kind).toBe('valid');
  await there.remove(key.id);
  expect(there.verdict(value).kind).toBe('unknown');
  await clock.advance(1_000);
  expect(here.verdict(value).kind).toBe('unknown');
  expect(await codeOf(here.remove(key.id))).toBe('NOT_FOUND');
  expect(() => here.get(key.id)).toThrow('Not found.');
});

test('ids are not used again', async () => {
  const keys = await open();
  await keys.create({ actions: ['*'] });
  await keys.remove(0);
  expect((await keys.create({ actions: ['*'] })).key.id).toBe(1);
});

test('a key that ran out says so, and still keeps the gateway from opening up', async () => {
  const keys = await open();
  const { value } = await keys.create({ actions: ['*'], expires_at: clock.nowMs() / 1_000 + 60 });
  await clock.advance(59_999);
  expect(keys.verdict(value).kind).toBe('valid');
  await clock.advance(1);
  expect(keys.verdict(value)).toEqual({ kind: 'expired' });
  expect(keys.any()).toBe(true);
});

test('there is a limit to how many there are', async () => {
  const keys = await open();
  for (let count = 0; count < keysMax; count++) await keys.create({ actions: ['*'] });
  expect(await codeOf(keys.create({ actions: ['*'] }))).toBe('CONFLICT');
});

/** A state whose documents cannot be read until `back` is called. */
function awayState(): { state: ClusterState; back: () => void } {
  let away = true;
  const proxy = new Proxy(state, {
    get(target, name) {
      if (name === 'readDocument' && away) return async () => Promise.reject(new ClusterStateUnavailable('away'));
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
  return { state: proxy, back: () => (away = false) };
}

test('a gateway that could not read the keys yet knows that it does not know', async () => {
  const { value } = await (await open()).create({ actions: ['*'] });
  const { state: away, back } = awayState();
  const keys = await open('', away);
  expect(keys.loaded()).toBe(false);
  await clock.advance(5_000);
  expect(keys.loaded()).toBe(false);
  back();
  await clock.advance(1_000);
  expect(keys.loaded()).toBe(true);
  expect(keys.verdict(value).kind).toBe('valid');
});

test('a store that lost its memory does not open a gateway that had keys', async () => {
  let forgotten = false;
  const forgetful = new Proxy(state, {
    get(target, name) {
      if (name === 'readDocument' && forgotten) return async () => ({ document: undefined, revision: 0 });
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
  const keys = await open('', forgetful);
  const { value } = await keys.create({ actions: ['*'] });
  forgotten = true;
  await clock.advance(1_000);
  expect(keys.verdict(value).kind).toBe('unknown');
  expect(keys.any()).toBe(true);
});

test('a damaged document leaves the last good keys in force', async () => {
  const keys = await open();
  const { value } = await keys.create({ actions: ['*'] });
  const { document } = await state.readDocument('api-keys');
  await state.writeDocument({ key: 'api-keys', value: '{"keys": [{}]}', expectedVersion: document?.version as number, requestId: 'damage' });
  await clock.advance(1_000);
  expect(keys.verdict(value).kind).toBe('valid');
});

test('before anything of the node is open it is refused where others reach it and nobody is asked for a key; a stored one is enough', async () => {
  const config = new NodeConfig();
  config.gateway.host = '0.0.0.0';
  const check = async (): Promise<void> => {
    const own: NodePart[] = [];
    new ApiKeys({ state, clock, config, log: {}, addPart: (part: NodePart) => own.push(part) } as never);
    for (const part of own) await part.check?.();
  };
  await expect(check()).rejects.toThrow(/gateway\.host is 0\.0\.0\.0.*set gateway\.api-key/);
  await (await open()).create({ actions: ['*'] });
  await check();
});
