import { type CephServer, cephStartTimeoutMs, startCeph } from '@binnacle/testing/ceph';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { RecordEncoder } from '../src/traffic/files/record-encoder.js';
import { encodeResult, resultBytesMax } from '../src/traffic/files/results-file.js';
import { TrafficReader } from '../src/traffic/files/traffic-reader.js';
import { TrafficWriter, type TrafficWriterOptions } from '../src/traffic/files/traffic-writer.js';

const key = Buffer.alloc(32, 9);
let ceph: CephServer;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'binnacle-traffic-'));
  ceph = await startCeph();
  Object.assign(process.env, ceph.env);
  const client = new S3Client({ endpoint: ceph.endpoint, region: 'us-east-1', forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: 'traffic' }));
  client.destroy();
}, cephStartTimeoutMs);

afterAll(async () => {
  await ceph?.stop();
  await rm(folder, { recursive: true, force: true });
});

const storeOf = (): TrafficWriterOptions['store'] => ({
  s3Endpoint: ceph.endpoint, s3Region: 'us-east-1', s3ForcePathStyle: true, attemptTimeoutMs: 5_000, timeoutMs: 10_000, connectionsMax: 8,
});

function encoded(index: number): Buffer {
  const target = Buffer.alloc(40_000);
  return target.subarray(0, new RecordEncoder().record(target, 0, { timeUs: 1_000_000 + index, connectionId: 7, command: 3, payload: Buffer.alloc(30_000, `select ${index} `) }));
}

test('a bucket holds a capture like a folder, and takes no other', async () => {
  const output = 's3://traffic/upgrades/one';
  const options: TrafficWriterOptions = {
    output, store: storeOf(), temporaryFolder: folder, layers: { isCompressed: false, order: 'compress-first', key }, version: '1', fileBytesMax: 5_000_000,
    nowMs: () => Date.now(), onFailure: () => {}, onWarning: () => {},
  };
  const writer = await TrafficWriter.open(options);
  const line = Buffer.alloc(resultBytesMax);
  for (let index = 0; index < 400; index++) {
    expect(writer.writeRecords(encoded(index), 1)).toBe(true);
    const result = { connectionId: 7, ordinal: index + 1, latencyUs: 1, errorCode: 0, rows: 0, affectedRows: 0, ordered: '0'.repeat(16), unordered: '0'.repeat(16) };
    const lineBytes = encodeResult(line, 0, index, result);
    expect(writer.writeResults(Buffer.from(line.subarray(0, lineBytes)), 1)).toBe(true);
  }
  await writer.close({ state: 'done', leftOut: {} });
  expect(await readdir(folder)).toEqual([]);
  await expect(TrafficWriter.open(options)).rejects.toThrow('file meta already exists');
  for (const input of [output, 's3://traffic/upgrades']) {
    const reader = await TrafficReader.open({ input, store: storeOf(), key });
    expect([reader.commands, reader.sources.length, reader.sources[0]?.files.length]).toEqual([400, 1, 3]);
    let count = 0;
    for await (const { payload } of reader.records()) expect(Buffer.from(payload.subarray(0, 11)).toString()).toBe(`select ${count++} `.repeat(2).slice(0, 11));
    let results = 0;
    for await (const { ordinal } of reader.results()) expect(ordinal).toBe(++results);
    expect([count, results]).toEqual([400, 400]);
    await reader.close();
  }
  await expect(TrafficReader.open({ input: 's3://traffic/nothing', store: storeOf() })).rejects.toThrow('there are no traffic files in s3://traffic/nothing: it is empty');
  await expect(TrafficReader.open({ input: 's3://no-such-bucket/x', store: storeOf() })).rejects.toThrow(/no-such-bucket/);
});

test('what could not be uploaded is kept, and where is said', async () => {
  const writer = await TrafficWriter.open({
    output: 's3://traffic/lost', store: { ...storeOf(), attemptTimeoutMs: 300, timeoutMs: 1_000 }, temporaryFolder: folder, layers: { isCompressed: false, order: 'compress-first' },
    version: '1', nowMs: () => Date.now(), onFailure: () => {}, onWarning: () => {},
  });
  expect(writer.writeRecords(encoded(0), 1)).toBe(true);
  ceph.pause();
  try {
    await expect(writer.close({ state: 'done', leftOut: {} })).rejects.toThrow(`what was not uploaded is in ${folder}/traffic-`);
  } finally {
    ceph.resume();
  }
  const [kept] = await readdir(folder);
  const reader = await TrafficReader.open({ input: join(folder, kept as string), store: storeOf() });
  for await (const { payload } of reader.records()) expect(payload).toHaveLength(30_000);
  await reader.close();
  await rm(join(folder, kept as string), { recursive: true });
});

test('what a killed process had written is read: all files and the one that it was writing', async () => {
  for (const killAfter of [1, 30, 100]) {
    const output = join(folder, `killed-${killAfter}`);
    const child = spawn(process.execPath, [fileURLToPath(new URL('traffic-writer.child.mjs', import.meta.url)), output, key.toString('hex')], { stdio: ['ignore', 'pipe', 'inherit'] });
    const unguard = guardProcess(child.pid as number, output);
    let told = 0;
    for await (const line of createInterface(child.stdout)) {
      told = Number(line);
      if (told === killAfter) child.kill('SIGKILL');
    }
    await Promise.race([exited(child), once(child, 'exit')]);
    unguard();
    expect(told).toBeGreaterThanOrEqual(killAfter);
    expect((await readdir(output)).some((name) => name.endsWith('.part'))).toBe(true);
    const warnings: string[] = [];
    const reader = await TrafficReader.open({ input: output, store: storeOf(), key, onWarning: (message) => warnings.push(message) });
    const payloads: string[] = [];
    for await (const { payload } of reader.records()) payloads.push(Buffer.from(payload).toString());
    expect(payloads).toEqual(payloads.map((_, index) => `select ${index}`));
    expect(payloads.length).toBeGreaterThanOrEqual(told - 1);
    expect(reader.sources[0]).toMatchObject({ isComplete: false });
    expect(warnings[0]).toBe(`the capture in ${output} is not complete: it is still running, or its process was killed`);
    await reader.close();
  }
});
