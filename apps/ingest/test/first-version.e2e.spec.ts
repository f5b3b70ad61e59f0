import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { deflateSync } from 'node:zlib';
import { newFolder, removeFolder, startIngest } from './ingest-node.js';

const schemaFolder = new URL('../schema/', import.meta.url).pathname;
const encoded = (message: string, text: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(execFileSync('protoc', [`--encode=gostatsd.${message}`, '-I', schemaFolder, 'gostatsd.proto'], { input: text }));

test('a forwarder of version 1 is counted with those of version 2, and what it was acknowledged outlives the process', async () => {
  const folder = newFolder();
  const first = await startIngest(folder);
  const body = encoded('RawMessageV1', 'RawMetrics { Name: "hits" Tags: "a:1" counter { Value: 2.5 } } RawMetrics { Name: "hits" Tags: "a:1" counter { Value: 1 } } RawMetrics { Name: "took" timer { Value: 30 Rate: 0.5 } }');
  const later = encoded('RawMessageV2', 'Counters { key: "hits" value { TagMap { key: "a:1,s:" value { Tags: "a:1" Value: 4 } } } }');
  const post = async (path: string, bytes: Uint8Array<ArrayBuffer>, encoding = 'identity') => (await first.fetch(path, { method: 'POST', body: bytes, headers: { 'content-encoding': encoding } })).status;
  expect(await post('/v1/raw', new Uint8Array(deflateSync(body)), 'deflate')).toBe(202);
  expect(await post('/v2/raw', later)).toBe(202);
  expect(await post('/v1/event', encoded('EventV2', 'Title: "deploy"'))).toBe(202);
  expect(await post('/v1/raw', new Uint8Array([0x0a, 0x05, 0x41]))).toBe(400);
  expect(await post('/v3/raw', later)).toBe(404);
  expect((await first.samples()).get('hits_total{a="1"}')).toBe(7.5);
  // What is on the disk now is what is left of a process that is killed now.
  const copy = newFolder();
  cpSync(folder, copy, { recursive: true });
  const second = await startIngest(copy);
  await second.ingest.flush();
  const samples = await second.samples();
  expect(['hits_total{a="1"}', 'took_count', 'took_sum'].map((name) => samples.get(name))).toEqual([7.5, 2, 60]);
  await Promise.all([first.stop(), second.stop()]);
  for (const each of [folder, copy]) removeFolder(each);
});
