import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { createSocket } from 'node:dgram';
import { constants, deflateSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { waitUntil } from '@binnacle/testing/wait-until';
import xxhash from 'xxhash-wasm';
import { portsOf, type ProductProcess, startEmbedded, temporaryFolder } from './product.js';

const ports = portsOf('ingest');
const folder = temporaryFolder('ingest-hostile');
let product: ProductProcess;

beforeAll(async () => void (product = await startEmbedded('ingest', folder.path, ['--log.level', 'error'])), 60_000);
afterAll(async () => {
  expect(await product.stop()).toBe(0);
  folder.remove();
});
// The kernel's mark of the most memory that was resident starts again.
beforeEach(() => writeFileSync(`/proc/${product.pid()}/clear_refs`, '5'));

const peakMegabytes = () => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${product.pid()}/status`, 'utf8'))?.[1]) / 1024;
const variables = async () => ((await (await fetch(`http://127.0.0.1:${ports.gostatsd}/expvar`)).json()) as { ingest: Record<string, number> }).ingest;

interface Answer {
  readonly status: number;
  readonly sentBytes: number;
}

/** Resolves with the status; with 0 when the connection broke off without one. A body without an end is sent until somebody stops it. */
function post(body: Buffer | 'endless', headers: Record<string, string>): Promise<Answer> {
  return new Promise((resolve) => {
    let sentBytes = 0;
    const outgoing = request({ host: '127.0.0.1', port: ports.gostatsd, path: '/v2/raw', method: 'POST', headers, agent: false }, (response) => {
      response.on('error', () => undefined).resume();
      resolve({ status: response.statusCode ?? 0, sentBytes });
      if (body === 'endless') outgoing.destroy();
    });
    outgoing.on('error', () => resolve({ status: 0, sentBytes }));
    outgoing.on('close', () => resolve({ status: 0, sentBytes }));
    if (body !== 'endless') return void outgoing.end(body);
    const piece = Buffer.alloc(65_536, 0x0a);
    const more = (): void => {
      while (!outgoing.destroyed && outgoing.write(piece)) sentBytes += piece.length;
    };
    outgoing.on('drain', more);
    more();
  });
}

/** Zeros, deflated. A flushed piece stands for itself, so the same one again and again is a stream as good as any; only its checksum is not to be had. */
function zerosDeflated(bytes: number): Buffer {
  const pieceBytes = 2 ** 20;
  if (bytes <= pieceBytes) return deflateSync(Buffer.alloc(bytes));
  const piece = deflateSync(Buffer.alloc(pieceBytes), { finishFlush: constants.Z_FULL_FLUSH, level: 9 });
  return Buffer.concat([piece, ...Array.from({ length: bytes / pieceBytes - 1 }, () => piece.subarray(2))]);
}

test.each([[1, 2 ** 20], [100, 100 * 2 ** 20], [10_000, 10_000 * 2 ** 20]])('twenty bombs of %i MB at once are refused within bounds', async (_megabytes, bytes) => {
  const bomb = zerosDeflated(bytes);
  // Longer ones are refused before they are inflated.
  expect(bomb.length).toBeLessThan(16 * 2 ** 20);
  const before = peakMegabytes();
  const answers = await Promise.all(Array.from({ length: 20 }, () => post(bomb, { 'content-encoding': 'deflate' })));
  for (const { status } of answers) expect([400, 503]).toContain(status);
  expect(answers.some(({ status }) => status === 400)).toBe(true);
  // Twice the 64 MiB that one may inflate to, what zlib holds of it on the way, and the 128 MiB that are being read.
  expect(peakMegabytes() - before).toBeLessThan(600);
}, 60_000);

test('LZ4 that claims to hold 4 GiB, and LZ4 that does, are refused', async () => {
  const { h32Raw } = await xxhash();
  // Version 1, independent blocks of up to 4 MiB, and 2^32 for the length of it all; then a block that is none.
  const descriptor = Buffer.from([0x68, 0x70, 0, 0, 0, 0, 1, 0, 0, 0]);
  const claim = Buffer.concat([Buffer.from([0x04, 0x22, 0x4d, 0x18]), descriptor, Buffer.from([(h32Raw(descriptor) >>> 8) & 0xff]), Buffer.from([64, 0, 0, 0]), Buffer.alloc(64)]);
  const frame = execFileSync('lz4', ['-c', '-q', '-z', '-B7', '-BI', '--no-frame-crc'], { input: Buffer.alloc(4 * 2 ** 20) });
  const headBytes = 7;
  const block = frame.subarray(headBytes, -4);
  const real = Buffer.concat([frame.subarray(0, headBytes), ...Array.from({ length: Math.floor((15 * 2 ** 20) / block.length) }, () => block), frame.subarray(-4)]);
  const before = peakMegabytes();
  for (const body of [claim, real]) {
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(body, { 'content-encoding': 'lz4' })));
    for (const { status } of answers) expect([400, 503]).toContain(status);
    expect(answers.some(({ status }) => status === 400)).toBe(true);
  }
  expect(peakMegabytes() - before).toBeLessThan(600);
}, 60_000);

test('a body that never ends is cut off, and not kept', async () => {
  const before = peakMegabytes();
  const answers = await Promise.all(Array.from({ length: 20 }, () => post('endless', { 'transfer-encoding': 'chunked' })));
  for (const { status, sentBytes } of answers) {
    expect([0, 413, 503]).toContain(status);
    // What lies in buffers of the system besides.
    expect(sentBytes).toBeLessThan(64 * 2 ** 20);
  }
  expect(peakMegabytes() - before).toBeLessThan(600);
  expect((await post(Buffer.alloc(0), {})).status).toBe(202);
}, 60_000);

test('fifty clients that announce long bodies, or none of any length, and send next to nothing keep nobody out', async () => {
  const sockets = Array.from({ length: 50 }, (_, index) => {
    const socket = connect(ports.gostatsd, '127.0.0.1');
    const length = index % 2 === 0 ? 'Transfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n' : 'Content-Length: 16000000\r\n\r\n\n';
    socket.on('error', () => undefined).write(`POST /v2/raw HTTP/1.1\r\nHost: 127.0.0.1\r\n${length}`);
    return socket;
  });
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  for (let round = 0; round < 20; round++) expect((await post(countersMessage('after.slow.', 0, 10), {})).status).toBe(202);
  for (const socket of sockets) socket.destroy();
});

/** RawMessageV2 of counters, each of them 1: `name` and a number. */
function countersMessage(name: string, from: number, to: number): Buffer {
  const parts: Buffer[] = [];
  for (let index = from; index < to; index++) {
    const text = Buffer.from(`${name}${index}`);
    const value = Buffer.from([0x0a, 4, 0x12, 2, 0x18, 1]);
    parts.push(Buffer.from([0x0a, 4 + text.length + value.length, 0x0a, text.length]), text, Buffer.from([0x12, value.length]), value);
  }
  return Buffer.concat(parts);
}

test('a million series by /v2/raw, and a million by UDP, meet their limit: all is counted, and memory stays bounded', async () => {
  const before = peakMegabytes();
  const { message_series: seriesBefore = 0 } = await variables();
  const series = 1_000_000;
  for (let from = 0; from < series; from += 50_000) expect((await post(countersMessage('bomb.http.', from, from + 50_000), {})).status).toBe(202);
  const taken = await variables();
  expect((taken['message_series'] ?? 0) - seriesBefore).toBe(series);
  // What one keyspace may have, and the overflow series.
  expect(taken['series']).toBeLessThanOrEqual(100_010);
  expect(taken['overflowed']).toBeGreaterThanOrEqual(899_990);

  const socket = createSocket('udp4');
  const linesPerPacket = 40;
  let packets = 0;
  for (let from = 0; from < series; from += linesPerPacket) {
    const lines = Array.from({ length: linesPerPacket }, (_, index) => `bomb.udp.${from + index}:1|c`).join('\n');
    await new Promise((resolve) => socket.send(lines, ports.statsd, '127.0.0.1', resolve));
    packets += 1;
  }
  socket.close();
  // What the kernel had no room for is told; the rest is counted, every line of it.
  await waitUntil(async () => {
    const { udp_packets: read = 0, udp_drops: dropped = 0 } = await variables();
    return read + dropped >= packets;
  }, { timeoutMs: 60_000, what: 'every packet to be read or told as dropped' });
  const { lines = 0, udp_packets: read = 0, series: kept = 0, bad_lines: bad } = await variables();
  expect(lines).toBe(read * linesPerPacket);
  expect([kept <= 100_010, bad]).toEqual([true, {}]);
  expect(peakMegabytes() - before).toBeLessThan(1_000);
  expect((await fetch(`http://127.0.0.1:${ports.gateway}/healthcheck`)).status).toBe(200);
}, 180_000);
