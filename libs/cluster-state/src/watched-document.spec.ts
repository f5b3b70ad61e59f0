import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openStore, type FlakyState } from '../test/flaky-state.js';
import { DocumentConflict, WatchedDocument } from './watched-document.js';

interface Counter {
  readonly count: number;
}

let opened: ReturnType<typeof openStore>;
const documents: WatchedDocument<Counter>[] = [];
beforeEach(() => {
  opened = openStore();
});
afterEach(async () => {
  for (const document of documents.splice(0)) document.stop();
  await opened.close();
});

function parse(text: string): Counter {
  const value = JSON.parse(text) as Counter;
  if (!Number.isInteger(value.count)) throw new Error('count must be a whole number');
  return value;
}

function open(): { line: FlakyState; document: WatchedDocument<Counter>; seen: number[]; invalid: string[] } {
  const line = opened.line();
  const invalid: string[] = [];
  const document = new WatchedDocument<Counter>(line.state, opened.clock, {
    key: 'counter',
    initial: { count: 0 },
    parse,
    onInvalid: (error) => invalid.push(error.message),
  });
  documents.push(document);
  const seen: number[] = [];
  document.onChange(({ count }) => seen.push(count));
  return { line, document, seen, invalid };
}

const increment = ({ count }: Counter): Counter => ({ count: count + 1 });

async function writeText(value: string): Promise<void> {
  const { document } = await opened.store.readDocument('counter');
  await opened.store.writeDocument({ key: 'counter', value, expectedVersion: document?.version ?? 0, requestId: `r${Math.random()}`.slice(0, 20) });
}

test('the initial value counts while there is no document', async () => {
  const { document } = open();
  await document.start();
  expect(document.value()).toEqual({ count: 0 });
  expect(document.version()).toBe(0);
});

test('an update is the value here at once, and everywhere else', async () => {
  const [one, two] = [open(), open()];
  await Promise.all([one.document.start(), two.document.start()]);
  expect(await one.document.update(increment)).toEqual({ count: 1 });
  expect(one.document.value()).toEqual({ count: 1 });
  expect(one.document.version()).toBe(1);
  expect(one.document.appliedRevision()).toBe(1);
  await opened.clock.advance(0);
  expect(two.document.value()).toEqual({ count: 1 });
  expect(two.document.appliedRevision()).toBe(1);
  expect([one.seen, two.seen]).toEqual([[1], [1]]);
});

test('an update works on what is stored, not on what this process saw last', async () => {
  const { document } = open();
  await writeText('{"count":41}');
  expect(await document.update(increment)).toEqual({ count: 42 });
});

/** Turns the clock until the work is done: pauses between attempts end only then. */
async function finish<T>(work: Promise<T>): Promise<T> {
  let done = false;
  const settled = work.finally(() => (done = true));
  settled.catch(() => {});
  for (let turn = 0; !done && turn < 10_000; turn++) await opened.clock.advance(1);
  expect(done).toBe(true);
  return settled;
}

test('simultaneous updates from many processes are all in the result', async () => {
  const all = Array.from({ length: 5 }, open);
  await Promise.all(all.map(({ document }) => document.start()));
  await finish(Promise.all(all.flatMap(({ document }) => Array.from({ length: 20 }, () => document.update(increment)))));
  await opened.clock.advance(0);
  expect(all.map(({ document }) => document.value().count)).toEqual([100, 100, 100, 100, 100]);
});

test('simultaneous updates of one process take turns and cost one write each, also after one that failed', async () => {
  const { line, document } = open();
  const refuse = (): Counter => {
    throw new Error('not like this');
  };
  const refused = document.update(refuse);
  const updated = Promise.all(Array.from({ length: 50 }, () => document.update(increment)));
  await expect(refused).rejects.toThrow('not like this');
  expect((await updated).map(({ count }) => count)).toEqual(Array.from({ length: 50 }, (_, index) => index + 1));
  expect(line.count('writeDocument')).toBe(50);
  expect(opened.clock.timerCount()).toBe(0);
});

test('of more updates than can wait, the one too many is refused at once', async () => {
  const { document } = open();
  const updated = Promise.all(Array.from({ length: 256 }, () => document.update(increment)));
  await expect(document.update(increment)).rejects.toThrow(DocumentConflict);
  await updated;
  expect(await document.update(increment)).toEqual({ count: 257 });
});

test('an update whose turn comes too late is refused, not sent', async () => {
  const { line, document } = open();
  const release = line.delayNextAnswer();
  const [first, second] = [document.update(increment), document.update(increment)];
  const failed = expect(second).rejects.toThrow(DocumentConflict);
  await opened.clock.advance(5_000);
  release();
  expect(await first).toEqual({ count: 1 });
  await failed;
  expect(line.count('readDocument')).toBe(1);
});

test('an update gives up after losing against others sixteen times, with pauses between', async () => {
  const { document } = open();
  const attemptsMs: number[] = [];
  const racing = document.update((current) => {
    attemptsMs.push(opened.clock.monotonicMs());
    const expectedVersion = attemptsMs.length - 1;
    void opened.store.writeDocument({ key: 'counter', value: '{"count":7}', expectedVersion, requestId: `other-${expectedVersion}` });
    return increment(current);
  });
  await expect(finish(racing)).rejects.toThrow(DocumentConflict);
  expect(attemptsMs).toHaveLength(16);
  const pausesMs = attemptsMs.slice(1).map((atMs, index) => atMs - attemptsMs[index]!);
  pausesMs.forEach((ms, index) => expect(ms).toBeGreaterThanOrEqual(Math.min(5 * 2 ** index, 250) / 2));
  expect(Math.max(...pausesMs)).toBeLessThanOrEqual(251);
});

test('what the change throws is thrown, and nothing is written', async () => {
  const { document } = open();
  const refuse = (): Counter => {
    throw new Error('not like this');
  };
  await expect(document.update(refuse)).rejects.toThrow('not like this');
  expect((await opened.store.readDocument('counter')).document).toBeUndefined();
});

test('an update whose answer was lost happens once', async () => {
  const { line, document } = open();
  await document.start();
  const updated = document.update((current) => {
    line.loseNextAnswer();
    return increment(current);
  });
  expect(await updated).toEqual({ count: 1 });
  expect(line.count('writeDocument')).toBe(2);
  expect((await opened.store.readDocument('counter')).document).toEqual({ version: 1, value: '{"count":1}' });
});

test('with the store away an update fails within a second', async () => {
  const { line, document } = open();
  await document.start();
  const updated = document.update((current) => {
    line.goAway();
    return increment(current);
  });
  const failed = expect(updated).rejects.toMatchObject({ code: 'CLUSTER_STATE_UNAVAILABLE' });
  await opened.clock.advance(1_000);
  await failed;
});

describe('a text that is none', () => {
  test('leaves the last good value, is told once, and holds the applied revision back', async () => {
    const { document, invalid, seen } = open();
    await document.start();
    await writeText('{"count":5}');
    await opened.clock.advance(0);
    await writeText('{"count":"many"}');
    await opened.clock.advance(5_000);
    expect(document.value()).toEqual({ count: 5 });
    expect(document.appliedRevision()).toBe(1);
    expect(invalid).toEqual(['count must be a whole number']);
    await writeText('{"count":6}');
    await opened.clock.advance(0);
    expect(document.value()).toEqual({ count: 6 });
    expect(document.appliedRevision()).toBe(3);
    expect(seen).toEqual([5, 6]);
  });

  test('can be replaced by an update, which starts from the last good value', async () => {
    const { document } = open();
    await writeText('{"count":5}');
    await document.start();
    await writeText('rubbish');
    expect(await document.update(increment)).toEqual({ count: 6 });
  });
});

test('a change whose message was lost is seen within a second', async () => {
  const { line, document } = open();
  await document.start();
  line.loseMessages();
  await writeText('{"count":3}');
  await opened.clock.advance(0);
  expect(document.value().count).toBe(0);
  await opened.clock.advance(900);
  expect(document.value().count).toBe(3);
});

test('the applied revision follows writes to other documents', async () => {
  const { document } = open();
  await document.start();
  await opened.store.writeDocument({ key: 'other', value: '', expectedVersion: 0, requestId: 'r' });
  await opened.clock.advance(1_000);
  expect(document.appliedRevision()).toBe(1);
});

test('an answer that was overtaken by an update does not bring the old value back', async () => {
  const { line, document, seen } = open();
  await document.start();
  const release = line.delayNextAnswer();
  await opened.clock.advance(900); // A poll has read the old version; its answer is late.
  await document.update(increment);
  release();
  await opened.clock.advance(0);
  expect(document.value()).toEqual({ count: 1 });
  expect(seen).toEqual([1]);
});

test('a store that went back is followed', async () => {
  const { document } = open();
  await writeText('{"count":1}');
  await writeText('{"count":2}');
  await document.start();
  const store = opened.store as unknown as { readDocument: (key: string) => Promise<unknown> };
  store.readDocument = async () => ({ document: { version: 1, value: '{"count":1}' }, revision: 1 });
  await opened.clock.advance(1_000);
  expect(document.value()).toEqual({ count: 1 });
  expect(document.version()).toBe(1);
});

test('stopping leaves no timer', async () => {
  const { document } = open();
  await document.start();
  document.stop();
  expect(opened.clock.timerCount()).toBe(0);
});
