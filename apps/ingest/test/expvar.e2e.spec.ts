import { expect, test } from '@jest/globals';
import { waitUntil } from '@binnacle/testing/wait-until';
import { once } from 'node:events';
import { connect } from 'node:net';
import { newFolder, removeFolder, startIngest } from './ingest-node.js';

test('/expvar has the figures of what was taken in, beside those of Go', async () => {
  const folder = newFolder();
  const running = await startIngest(folder);
  const variables = async () => (await (await running.fetch('/expvar')).json()) as { cmdline: string[]; memstats: object; ingest: Record<string, unknown> };
  const socket = connect(running.tcpPort, '127.0.0.1');
  socket.end('hits:1|c\nhits:2|c\nload:0.5|g\nno line\n');
  await once(socket, 'close');
  await waitUntil(async () => (await variables()).ingest['lines'] === 3);
  await running.ingest.flush();
  const { cmdline, memstats, ingest } = await variables();
  expect([cmdline, memstats]).toEqual([expect.any(Array), expect.objectContaining({ HeapAlloc: expect.any(Number) })]);
  expect(ingest).toMatchObject({ lines: 3, series: 2, flushes: 1, udp_drops: 0, bad_lines: expect.any(Object) });
  expect(Object.values(ingest['bad_lines'] as object).reduce((sum: number, count: number) => sum + count, 0)).toBe(1);
  expect(ingest['spool_bytes']).toEqual({ tables: expect.any(Number) });
  await running.stop();
  removeFolder(folder);
});
