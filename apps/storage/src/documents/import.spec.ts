import { expect, test } from '@jest/globals';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { BinnacleError } from '@binnacle/contracts/errors';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { Table } from '../tables/schema.js';
import type { DocumentWriter, PreparedWrite, WriteResult } from './document-writer.js';
import { Import } from './import.js';
import { ImportResults } from './import-results.js';

const table = {} as Table;
const options = { request: { action: 'upsert', dirtyValues: 'reject' }, batchSize: 1_000, returnDocument: false, returnId: false, durability: 'fsync' } as const;

/** Takes every line for a document, and writes when it is told to. */
class SlowWriter {
  readonly writes: { count: number; finish: (results?: WriteResult[]) => void }[] = [];

  prepareSmall(_table: Table, line: Buffer): PreparedWrite {
    return { id: line.toString('latin1', 0, 8), table, request: options.request, whole: line };
  }

  write(_table: Table, writes: readonly PreparedWrite[]): Promise<WriteResult[]> {
    return new Promise((resolve) => {
      const finish = (results: WriteResult[] = writes.map(() => ({ document: Buffer.alloc(0) }))): void => resolve(results);
      this.writes.push({ count: writes.length, finish });
    });
  }
}

function importOf(writer: SlowWriter, body: Readable) {
  const results = new ImportResults(new FakeClock());
  const failures: unknown[] = [];
  const running = new Import(writer as unknown as DocumentWriter, () => table, options, results, (error) => failures.push(error)).run(body);
  return { running, told: text(results), failures };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test('while nothing can be written, no more is read than a few batches', async () => {
  let readBytes = 0;
  const line = Buffer.from(`${'x'.repeat(999)}\n`);
  const chunk = Buffer.concat(Array.from({ length: 64 }, () => line));
  let left = 1_000;
  const body = new Readable({
    read() {
      readBytes += chunk.length;
      this.push(left-- > 0 ? chunk : null);
    },
  });
  const writer = new SlowWriter();
  const { running, told } = importOf(writer, body);
  await waitUntil(() => writer.writes.length === 2);
  for (let index = 0; index < 50; index++) await turn();
  expect(writer.writes.length).toBe(2);
  expect(readBytes).toBeLessThan(3 * 1024 * 1024);

  const finishing = setInterval(() => writer.writes.splice(0).forEach(({ finish }) => finish()), 1);
  await running;
  clearInterval(finishing);
  expect((await told).split('\n')).toHaveLength(64_000);
});

test('results are told in the order of the lines, whatever is written first', async () => {
  const writer = new SlowWriter();
  const body = new Readable({ read: () => undefined });
  const { running, told } = importOf(writer, body);
  body.push('a\n');
  await waitUntil(() => writer.writes.length === 1);
  body.push(Buffer.from(Array.from({ length: 1_000 }, (_, index) => `b${index}\n`).join('')));
  await waitUntil(() => writer.writes.length === 2);
  writer.writes[1]?.finish();
  await turn();
  writer.writes[0]?.finish([new BinnacleError('CONFLICT', 'there already')]);
  body.push(null);
  await running;
  const lines = (await told).split('\n');
  expect(JSON.parse(lines[0] ?? '')).toEqual({ code: 409, document: 'a', error: 'there already', success: false });
  expect(new Set(lines.slice(1))).toEqual(new Set(['{"success":true}']));
  expect(lines).toHaveLength(1_001);
});

test('what breaks in here is an internal error of each line, told to the log alone', async () => {
  const writer = new SlowWriter();
  writer.write = async () => {
    throw new Error('a secret of the disk');
  };
  const { running, told, failures } = importOf(writer, Readable.from([Buffer.from('a\nb')]));
  await running;
  expect((await told).split('\n').map((line) => JSON.parse(line) as unknown)).toEqual([
    { code: 500, document: 'a', error: 'internal error', success: false },
    { code: 500, document: 'b', error: 'internal error', success: false },
  ]);
  expect(failures).toEqual([new Error('a secret of the disk')]);
});

test('a stream that breaks ends the import once what came before is written', async () => {
  const writer = new SlowWriter();
  const body = new Readable({ read: () => undefined });
  const { running, told } = importOf(writer, body);
  told.catch(() => undefined);
  let isOver = false;
  const failed = running.then(
    () => 'done',
    (error: Error) => error.message,
  );
  void failed.then(() => (isOver = true));
  body.push('a\nb');
  await waitUntil(() => writer.writes.length === 1);
  body.destroy(new Error('aborted'));
  await turn();
  await turn();
  expect(isOver).toBe(false);
  const finishing = setInterval(() => writer.writes.splice(0).forEach(({ finish }) => finish()), 1);
  expect(await failed).toBe('aborted');
  clearInterval(finishing);
});
