import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LogOperation } from '../log/log-record.js';
import { Engine } from './engine.js';

/** A folder on another file system than the temporary ones. */
const elsewhere = ['/dev/shm'].find((path) => existsSync(path) && statSync(path).dev !== statSync(tmpdir()).dev);
let folder: string;
const opened: Engine[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-engine-'));
});

afterEach(async () => {
  for (const engine of opened.splice(0)) await engine.close();
  rmSync(folder, { recursive: true });
});

async function open(from = join(folder, 'engine')): Promise<Engine> {
  const engine = await Engine.open(from);
  opened.push(engine);
  return engine;
}

async function closeAll(): Promise<void> {
  for (const engine of opened.splice(0)) await engine.close();
}

const put = (handle: string, document: string, tableId = 1): LogOperation => ({ tableId, handle: Buffer.from(handle), document: Buffer.from(document) });
const mark = (handle: string, tableId = 1): LogOperation => ({ tableId, handle: Buffer.from(handle), document: undefined });

const apply = (engine: Engine, ...operations: LogOperation[]): Promise<void> => engine.apply([{ firstVersion: engine.appliedVersion() + 1, operations }]);

/** `handle=document@version` of each row. */
async function rows(engine: Engine, tableId = 1, range: { after?: Buffer; limit?: number } = {}): Promise<string[]> {
  const seen: string[] = [];
  for await (const { handle, document, version } of engine.scan(tableId, range)) seen.push(`${handle}=${document}@${version}`);
  return seen;
}

describe('rows', () => {
  test('are read one by one, many at once in the order asked, and in the order of their handles; those of other tables are not', async () => {
    const engine = await open();
    await apply(engine, put('b', '2'), put('a', '1'), put('c', '3'), put('a', 'other', 2), put('zz', '', 1));
    expect(await engine.get(1, Buffer.from('a'))).toEqual({ handle: Buffer.from('a'), version: 2, document: Buffer.from('1') });
    expect((await engine.getMany(1, ['c', 'x', 'b'].map((each) => Buffer.from(each)))).map((row) => row?.document.toString())).toEqual(['3', undefined, '2']);
    expect(await rows(engine)).toEqual(['a=1@2', 'b=2@1', 'c=3@3', 'zz=@5']);
    expect(await rows(engine, 2)).toEqual(['a=other@4']);
    expect(await rows(engine, 3)).toEqual([]);
  });

  test('may have any bytes in their handles', async () => {
    const engine = await open();
    const handles = ['a/b', "q'uo\"te", 'nul\0nul', '\0', '🧭', 'ÿ'.repeat(300)].map((each) => Buffer.from(each));
    await apply(engine, ...handles.map((handle) => put(handle.toString(), handle.toString('hex'))));
    for (const handle of handles) expect((await engine.get(1, handle))?.document.toString()).toBe(handle.toString('hex'));
    expect(await rows(engine)).toHaveLength(handles.length);
  });

  test('go behind a delete mark, and come back with a newer version', async () => {
    const engine = await open();
    await apply(engine, put('a', '1'), put('b', '2'));
    await apply(engine, mark('a'));
    expect([await engine.get(1, Buffer.from('a')), await rows(engine)]).toEqual([undefined, ['b=2@2']]);
    await apply(engine, put('a', 'again'));
    expect(await rows(engine)).toEqual(['a=again@4', 'b=2@2']);
  });

  test('of a page: after a handle, at most so many, delete marks not counted', async () => {
    const engine = await open();
    await apply(engine, ...['a', 'b', 'c', 'd', 'e'].map((each) => put(each, each)));
    await apply(engine, mark('c'));
    expect(await rows(engine, 1, { after: Buffer.from('a'), limit: 2 })).toEqual(['b=b@2', 'd=d@4']);
    expect(await rows(engine, 1, { after: Buffer.from('e') })).toEqual([]);
    expect(await rows(engine, 1, { limit: 0 })).toEqual([]);
  });

  test('of a dropped table are gone, those of its neighbours are not', async () => {
    const engine = await open();
    await apply(engine, put('a', '1', 1));
    await apply(engine, put('a', '2', 2), put('b', '2', 2));
    await apply(engine, put('a', '3', 3));
    await apply(engine, { tableId: 2, handle: Buffer.alloc(0), document: undefined });
    expect([await rows(engine, 1), await rows(engine, 2), await rows(engine, 3)]).toEqual([['a=1@1'], [], ['a=3@4']]);
  });

  test('of a scan are those of its beginning, whatever is written meanwhile', async () => {
    const engine = await open();
    await apply(engine, ...Array.from({ length: 500 }, (_, index) => put(String(index).padStart(3, '0'), 'old')));
    const seen: string[] = [];
    for await (const { document } of engine.scan(1)) {
      if (seen.length === 100) await apply(engine, ...Array.from({ length: 600 }, (_, index) => put(String(index).padStart(3, '0'), 'new')));
      seen.push(document.toString());
    }
    expect([seen.length, new Set(seen)]).toEqual([500, new Set(['old'])]);
  });

  test('that are large are not read ahead: a scan holds some megabytes of them, also after a restart', async () => {
    const large = 'x'.repeat(2 ** 20);
    await apply(await open(), ...Array.from({ length: 96 }, (_, index) => put(String(index).padStart(3, '0'), index < 32 ? 'small' : large)));
    await closeAll();
    const engine = await open();
    const before = process.memoryUsage().external;
    const scan = engine.scan(1);
    await scan.next();
    const readBytes = process.memoryUsage().external - before;
    await scan.return(undefined);
    expect(readBytes).toBeLessThan(8 * large.length);
  });

  test('and the version they were brought to survive a restart; versions above 2^32 too', async () => {
    const engine = await open();
    const version = 2 ** 40 + 3;
    await engine.apply([{ firstVersion: version, operations: [put('a', '1'), put('b', '2')] }]);
    await closeAll();
    const again = await open();
    expect([again.appliedVersion(), await rows(again)]).toEqual([version + 1, [`a=1@${version}`, `b=2@${version + 1}`]]);
  });
});

describe('files', () => {
  const many = (document: string): LogOperation[] => Array.from({ length: 2_000 }, (_, index) => put(`row-${index}`, document));

  test('a checkpoint shares the tables, is a folder of its own, and has the state of one moment while writes go on', async () => {
    const engine = await open();
    await apply(engine, ...many('x'.repeat(100)));
    await engine.flush();
    let writing = true;
    const writes = (async () => {
      while (writing) await apply(engine, put('row-0', 'busy'), put('row-1', 'busy'));
    })();
    const copy = join(folder, 'copy');
    const version = await engine.hardLinkTo(copy);
    writing = false;
    await writes;
    const [table] = readdirSync(copy).filter((name) => name.endsWith('.sst'));
    expect(statSync(join(copy, table as string)).nlink).toBe(2);

    await apply(engine, put('row-0', 'later'));
    const taken = await open(copy);
    expect(taken.appliedVersion()).toBe(version);
    const [first, second] = await taken.getMany(1, [Buffer.from('row-0'), Buffer.from('row-1')]);
    expect(second?.version).toBe((first?.version ?? 0) + 1);
    expect(await rows(taken)).toHaveLength(2_000);
    await apply(taken, put('row-0', 'copy'));
    expect((await engine.get(1, Buffer.from('row-0')))?.document.toString()).toBe('later');
  });

  (elsewhere === undefined ? test.skip : test)('a checkpoint on another file system (/dev/shm here) is a copy', async () => {
    const copy = mkdtempSync(join(elsewhere as string, 'binnacle-engine-'));
    try {
      const engine = await open();
      await apply(engine, ...many('x'.repeat(100)));
      expect(await engine.hardLinkTo(join(copy, 'engine'))).toBe(2_000);
      expect(await rows(await open(join(copy, 'engine')))).toHaveLength(2_000);
      await closeAll();
    } finally {
      rmSync(copy, { recursive: true });
    }
  });

  test('a compaction gives back what was overwritten; to stop waiting for it is possible', async () => {
    const engine = await open();
    for (const text of ['a', 'b', 'c']) {
      await apply(engine, ...many(text.repeat(200)));
      await engine.flush();
    }
    const before = await engine.sizeBytes();
    await expect(engine.compact(AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
    await Promise.all([engine.compact(AbortSignal.timeout(20_000)), apply(engine, put('row-0', 'meanwhile'))]);
    expect(await engine.sizeBytes()).toBeLessThan(before / 2);
    expect((await engine.get(1, Buffer.from('row-0')))?.document.toString()).toBe('meanwhile');
  });

  test('closing ends a scan that nobody reads on', async () => {
    const engine = await open();
    await apply(engine, ...many('x'));
    const scan = engine.scan(1);
    await scan.next();
    await closeAll();
    await expect((async () => { while (!(await scan.next()).done); })()).rejects.toThrow();
  });

  test.each(['CURRENT', 'MANIFEST-', '.sst'])('a damaged %s keeps the folder from opening, and is named', async (which) => {
    const engine = await open();
    await apply(engine, ...many('x'.repeat(100)));
    await engine.flush();
    await closeAll();
    const name = readdirSync(join(folder, 'engine')).find((each) => each.includes(which)) as string;
    const file = join(folder, 'engine', name);
    const bytes = readFileSync(file);
    // The end of a table says where everything is.
    bytes.fill(0xff, Math.max(0, bytes.length - 40));
    writeFileSync(file, bytes);
    await expect(open()).rejects.toThrow(new RegExp(`${name}.*binnacle restore`));
  });

  test('a folder that is open elsewhere is refused by that reason', async () => {
    await open();
    await expect(open()).rejects.toThrow(`${join(folder, 'engine')} is open in another process: each node needs a data folder of its own`);
  });

  test('a damaged row is an error that names its file, and not a row', async () => {
    const engine = await open();
    await apply(engine, ...many('x'.repeat(100)));
    await engine.flush();
    await closeAll();
    const name = readdirSync(join(folder, 'engine')).find((each) => each.endsWith('.sst')) as string;
    const bytes = readFileSync(join(folder, 'engine', name));
    bytes[5_000] = (bytes[5_000] as number) ^ 1;
    writeFileSync(join(folder, 'engine', name), bytes);
    // Which of the two it is depends on where the damaged rows lie.
    await expect(open().then((damaged) => rows(damaged))).rejects.toThrow(name);
  });
});
