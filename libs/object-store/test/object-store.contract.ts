import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ObjectChanged, ObjectNotFound, type ObjectFacts, type ObjectStore, PreconditionFailed } from '../src/object-store.js';

const mebibyte = 2 ** 20;

/** What every kind of store must do. `open` gives another client of the same objects each time. */
export function testObjectStore(kind: string, open: () => Promise<ObjectStore>): void {
  describe(kind, () => {
    let store: ObjectStore;
    let other: ObjectStore;
    let folder: string;
    beforeAll(async () => {
      [store, other] = [await open(), await open()];
      folder = await mkdtemp(join(tmpdir(), 'binnacle-contract-'));
    });
    afterAll(async () => {
      await Promise.all([store.close(), other.close()]);
      await rm(folder, { recursive: true, force: true });
    });
    const newKey = (): string => `test/${randomUUID()}/object`;
    const text = async (key: string): Promise<string | undefined> => (await other.get(key))?.body.toString();

    test('passes its own check and leaves nothing of it', async () => {
      await store.check();
      expect(await keysOf(store.list('probes/'))).toEqual([]);
    });

    test('what was put is there for others, with its facts', async () => {
      const key = newKey();
      const beforeMs = await store.nowMs();
      const { etag } = await store.put(key, Buffer.from('hello'));
      const found = await other.get(key);
      expect(found).toEqual({ key, bytes: 5, etag, lastModifiedMs: expect.any(Number), body: Buffer.from('hello') });
      // The clock of S3 has whole seconds.
      expect(found?.lastModifiedMs).toBeGreaterThanOrEqual(beforeMs - 1_000);
      expect(found?.lastModifiedMs).toBeLessThanOrEqual((await store.nowMs()) + 1_000);
      expect(await other.head(key)).toEqual({ key, bytes: 5, etag, lastModifiedMs: expect.any(Number) });
      expect(await keysOf(other.list(key))).toEqual([key]);
    });

    test('an empty object is an object', async () => {
      const key = newKey();
      await store.put(key, Buffer.alloc(0));
      expect(await other.get(key)).toMatchObject({ bytes: 0, body: Buffer.alloc(0) });
    });

    test('there is nothing where nothing was put', async () => {
      const key = newKey();
      expect(await store.get(key)).toBeUndefined();
      expect(await store.head(key)).toBeUndefined();
      await expect(store.getRange(key, { offset: 0, length: 1 })).rejects.toThrow(ObjectNotFound);
      await store.delete(key);
    });

    test('a get unless it is what the caller has', async () => {
      const key = newKey();
      const first = await store.put(key, Buffer.from('1'));
      expect(await other.get(key, { unlessEtag: first.etag })).toBeUndefined();
      await store.put(key, Buffer.from('2'));
      expect((await other.get(key, { unlessEtag: first.etag }))?.body.toString()).toBe('2');
    });

    test('ranges are exact, and one beyond the end means that the object is another', async () => {
      const key = newKey();
      await store.put(key, Buffer.from('0123456789'));
      expect((await store.getRange(key, { offset: 0, length: 1 })).toString()).toBe('0');
      expect((await store.getRange(key, { offset: 7, length: 3 })).toString()).toBe('789');
      await expect(store.getRange(key, { offset: 7, length: 4 })).rejects.toThrow(ObjectChanged);
      await expect(store.getRange(key, { offset: 10, length: 1 })).rejects.toThrow(ObjectChanged);
      await expect(store.getRange(key, { offset: 0, length: 0 })).rejects.toThrow(RangeError);
    });

    test('an object that must be absent is created once', async () => {
      const key = newKey();
      await store.put(key, Buffer.from('first'), { condition: 'absent' });
      await expect(other.put(key, Buffer.from('second'), { condition: 'absent' })).rejects.toThrow(PreconditionFailed);
      expect(await text(key)).toBe('first');
      await store.delete(key);
      expect(await text(key)).toBeUndefined();
      await other.put(key, Buffer.from('third'), { condition: 'absent' });
      expect(await text(key)).toBe('third');
    });

    test('exactly the named object is replaced', async () => {
      const key = newKey();
      await expect(store.put(key, Buffer.from('x'), { condition: { etag: '"none"' } })).rejects.toThrow(PreconditionFailed);
      const first = await store.put(key, Buffer.from('1'));
      const second = await other.put(key, Buffer.from('2'), { condition: first });
      expect(second.etag).not.toBe(first.etag);
      await expect(store.put(key, Buffer.from('3'), { condition: first })).rejects.toThrow(PreconditionFailed);
      expect(await text(key)).toBe('2');
      await store.delete(key);
      await expect(store.put(key, Buffer.from('4'), { condition: second })).rejects.toThrow(PreconditionFailed);
      expect(await text(key)).toBeUndefined();
    });

    test.each(['absent', 'replace'])('of 20 that race for one condition (%s) exactly one wins', async (condition) => {
      for (let round = 0; round < 20; round++) {
        const key = newKey();
        const before = condition === 'replace' ? await store.put(key, Buffer.from('before')) : undefined;
        const racers = Array.from({ length: 20 }, (_, racer) => `racer ${racer}`);
        const results = await Promise.allSettled(
          racers.map((racer, index) => (index % 2 ? store : other).put(key, Buffer.from(racer), { condition: before ?? 'absent' })),
        );
        const winners = racers.filter((_, index) => results[index]?.status === 'fulfilled');
        expect(winners).toHaveLength(1);
        for (const result of results) if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(PreconditionFailed);
        expect(await text(key)).toBe(winners[0]);
      }
    });

    test('no increment of a counter by compare-and-set is lost', async () => {
      const key = newKey();
      await store.put(key, Buffer.from('0'));
      const increment = async (client: ObjectStore): Promise<void> => {
        for (;;) {
          const found = await client.get(key);
          if (found === undefined) throw new Error('the counter is gone');
          const next = Buffer.from(String(Number(found.body.toString()) + 1));
          const won = await client.put(key, next, { condition: found }).then(() => true, (error) => {
            if (error instanceof PreconditionFailed) return false;
            throw error;
          });
          if (won) return;
        }
      };
      await Promise.all([store, other, store, other].map(async (client) => {
        for (let turn = 0; turn < 5; turn++) await increment(client);
      }));
      expect(await text(key)).toBe('20');
    });

    test('lists by prefix, ascending by bytes, across many', async () => {
      const root = `test/${randomUUID()}/`;
      const names = ['a-b', 'a.b', 'a/b', 'a/b-c/d', 'a/b.c', 'a/c', 'a0', 'a=', 'a_', 'B', 'b/1', 'b/10', 'b/2'];
      for (let index = 0; index < 100; index++) names.push(`many/${index}`);
      await Promise.all(names.map((name) => store.put(root + name, Buffer.from(name))));
      const all = names.map((name) => root + name).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      expect(await keysOf(other.list(root))).toEqual(all);
      expect(await keysOf(other.list(`${root}a/b`))).toEqual(all.filter((key) => key.startsWith(`${root}a/b`)));
      expect(await keysOf(other.list(`${root}nothing`))).toEqual([]);
      for (const after of ['a-b', 'a/b', 'a/b-', 'a/zzz', 'b', 'b/1', 'many/5', 'zzz']) {
        expect(await keysOf(other.list(root, { after: root + after }))).toEqual(all.filter((key) => key > root + after));
      }
      for await (const facts of other.list(`${root}b/`)) expect(await other.head(facts.key)).toMatchObject({ etag: facts.etag, bytes: facts.bytes });
    });

    test('a list goes on while what it lists is deleted', async () => {
      const root = `test/${randomUUID()}/`;
      await Promise.all(Array.from({ length: 10 }, (_, index) => store.put(`${root}${index}`, Buffer.from('x'))));
      const seen: string[] = [];
      for await (const { key } of store.list(root)) {
        seen.push(key);
        await other.delete(key);
      }
      expect(seen).toHaveLength(10);
      expect(await keysOf(other.list(root))).toEqual([]);
    });

    test.each([0, 1, 3 * mebibyte, 20 * mebibyte + 17])('a file of %d bytes arrives as it is', async (bytes) => {
      const path = join(folder, randomUUID());
      const content = randomBytes(bytes);
      await writeFile(path, content);
      const key = newKey();
      const { etag } = await store.putFile(key, path);
      await truncate(path, 0);
      const found = await other.get(key);
      expect(found?.etag).toBe(etag);
      expect(found?.body.equals(content)).toBe(true);
      expect(await other.head(key)).toMatchObject({ bytes, etag });
    });

    test.each([10, 20 * mebibyte])('a file of %d bytes keeps the condition', async (bytes) => {
      const path = join(folder, randomUUID());
      await writeFile(path, randomBytes(bytes));
      const key = newKey();
      const first = await store.putFile(key, path, { condition: 'absent' });
      await expect(store.putFile(key, path, { condition: 'absent' })).rejects.toThrow(PreconditionFailed);
      await writeFile(path, randomBytes(bytes));
      const second = await store.putFile(key, path, { condition: first });
      await expect(store.putFile(key, path, { condition: first })).rejects.toThrow(PreconditionFailed);
      expect((await store.head(key))?.etag).toBe(second.etag);
    });

    test('a missing file is no missing object', async () => {
      await expect(store.putFile(newKey(), join(folder, 'none'))).rejects.toThrow('ENOENT');
    });

    test.each(['', '/a', 'a/', 'a//b', '..', 'a/../b', '.hidden', 'a/.b', 'a\\b', 'a b', 'a\0', 'ä', `${'a/'.repeat(500)}a`])('refuses the key %j', async (key) => {
      await expect(store.get(key)).rejects.toThrow(RangeError);
      await expect(store.head(key)).rejects.toThrow(RangeError);
      await expect(store.getRange(key, { offset: 0, length: 1 })).rejects.toThrow(RangeError);
      await expect(store.put(key, Buffer.alloc(0))).rejects.toThrow(RangeError);
      await expect(store.putFile(key, join(folder, 'none'))).rejects.toThrow(RangeError);
      await expect(store.delete(key)).rejects.toThrow(RangeError);
    });

    test('what was cancelled before it began does nothing', async () => {
      const key = newKey();
      const signal = AbortSignal.abort(new Error('given up'));
      await expect(store.put(key, Buffer.from('x'), { signal })).rejects.toThrow('given up');
      await expect(store.get(key, { signal })).rejects.toThrow('given up');
      await expect(keysOf(store.list('test/', { signal }))).rejects.toThrow('given up');
      expect(await store.head(key)).toBeUndefined();
    });
  });
}

async function keysOf(objects: AsyncIterable<ObjectFacts>): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of objects) keys.push(key);
  return keys;
}
