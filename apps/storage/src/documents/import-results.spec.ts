import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { text } from 'node:stream/consumers';
import { ImportResults } from './import-results.js';

const success = '{"success":true}';

test('results come in order, with a newline between them and none at the end', async () => {
  const results = new ImportResults(new FakeClock());
  results.addSuccess();
  results.add('{"first":"failure"}');
  const read = text(results);
  results.add('{"second":"failure"}');
  results.addSuccess();
  results.addSuccess();
  results.complete();
  expect((await read).split('\n')).toEqual([success, '{"first":"failure"}', '{"second":"failure"}', success, success]);
});

test('no result is an empty answer', async () => {
  const results = new ImportResults(new FakeClock());
  results.complete();
  expect(await text(results)).toBe('');
});

test('a million successes wait without memory, and are all told', async () => {
  const results = new ImportResults(new FakeClock());
  for (let index = 0; index < 1_000_000; index++) results.addSuccess();
  await results.room();
  results.complete();
  const told = await text(results);
  expect(told.length).toBe(1_000_000 * (success.length + 1) - 1);
  expect(new Set(told.split('\n'))).toEqual(new Set([success]));
});

test('there is room again once the client has read', async () => {
  const results = new ImportResults(new FakeClock());
  for (let index = 0; index < 10; index++) results.add('x'.repeat(1024 * 1024));
  let hasRoom = false;
  const room = results.room().then(() => (hasRoom = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(hasRoom).toBe(false);
  results.complete();
  const read = text(results);
  await room;
  expect((await read).length).toBe(10 * (1024 * 1024 + 1) - 1);
});

test('a client that reads nothing for a minute is given up', async () => {
  const clock = new FakeClock();
  const results = new ImportResults(clock);
  const failed = new Promise<Error>((resolve) => results.once('error', resolve));
  results.add('x'.repeat(9 * 1024 * 1024));
  const room = results.room();
  await clock.advance(60_000);
  await room;
  expect((await failed).message).toBe('the results of the import are not read');
});
