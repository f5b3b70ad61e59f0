import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Flushes } from './flushes.js';
import { Ownership } from './ownership/ownership.js';
import type { CounterSeries } from './series/series.js';
import { SeriesStore } from './series/series-store.js';
import { Journal } from './spool/journal.js';
import { Spool } from './spool/spool.js';

let folder = '';
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'binnacle-flushes-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('while the spool cannot be written the interval goes on, and nothing that was acknowledged is lost', async () => {
  const clock = new FakeClock();
  const store = new SeriesStore({ seriesMax: 10, keyspaceSeriesMax: 10, timerValuesMax: 10, setMembersMax: 10, expiryMs: 3_600_000 }, clock);
  const [spoolFolder, away, journalFolder] = [join(folder, 'spool'), join(folder, 'away'), join(folder, 'journal')];
  const node = { clock, config: { ingest: { percents: [], tables: true, flushIntervalMs: 3_600_000 } }, log: pino({ level: 'silent' }) } as unknown as NodeContext;
  const ownership = new Ownership('a', () => []);
  const flushes = new Flushes({ node, store, spool: new Spool(spoolFolder, 1_000_000), ownership, isForwarding: false, takeEvents: () => [], beforeFlush: async () => {}, onWritten: () => {} });
  const journal = await Journal.open(journalFolder, { pendingBytesMax: 10_000, bytesMax: 10_000, segmentBytesMax: 10_000 }, 0, async () => {});
  flushes.start(journal);
  const hits = store.series({ kind: 'counter', name: 'hits', tags: [], source: '' }) as CounterSeries;
  const takeAndFlush = async (): Promise<void> => {
    await journal.append({ kind: 'raw', encoding: 'identity', idempotencyKey: '', body: Buffer.from('hits') }, () => store.count(hits, 1));
    await clock.advance(10_000);
    await flushes.flush();
  };

  renameSync(spoolFolder, away);
  writeFileSync(spoolFolder, '');
  for (let at = 0; at < 6; at++) await takeAndFlush();
  expect([hits.total + hits.value, readdirSync(journalFolder).length]).toEqual([6, 2]);
  rmSync(spoolFolder);
  renameSync(away, spoolFolder);
  await takeAndFlush();

  const rows = readdirSync(spoolFolder).flatMap((batch) => readdirSync(join(spoolFolder, batch)).flatMap((part) => readFileSync(join(spoolFolder, batch, part), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as { kind: string; value: number })));
  expect(rows.map(({ kind, value }) => [kind, value])).toEqual([['counter', 1], ['counter.per_second', 0.1], ['counter', 6], ['counter.per_second', 0.1]]);
  expect(readdirSync(journalFolder)).toEqual([]);
  await flushes.stop();
  await journal.close();
});
