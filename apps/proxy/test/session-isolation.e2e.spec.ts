import type { Socket } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { Command } from '@binnacle/mysql-wire/command';
import { framePayload } from '@binnacle/mysql-wire/packet-header';
import { ok, PeerFrames } from '@binnacle/testing/peer-packets';
import { seededRandom, type SeededRandom } from '@binnacle/testing/seeded-random';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { ByteChannel } from '../src/connection/byte-channel.js';
import { BareSession, classic, modern } from './bare-session.js';
import { classicResult, query, result } from './packet-texts.js';

const running: BareSession[] = [];
afterEach(() => {
  for (const bare of running.splice(0)) bare.stop();
});

/** Bytes that are one session's alone: its number again and again. */
const pattern = (session: number, bytes: number): Buffer => Buffer.alloc(bytes, `<${session}>`);

/** Writes in pieces of any size, each one read before the next comes, unless the reader has stopped. */
async function dribble(socket: Socket, into: ByteChannel, isFull: () => boolean, bytes: Buffer, random: SeededRandom): Promise<void> {
  const before = into.bytesRead;
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.length > 1_000_000 ? 1 + random.below(40_000) : random.oneOf([1, 3, 4, 5, 100, 2_047, 2_048, 2_049, 30_000]);
    socket.write(bytes.subarray(at, at + length));
    at = Math.min(bytes.length, at + length);
    while (into.bytesRead - before < at && !into.closed && !isFull()) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Does not read until writes to it wait, or nothing more comes; `others` may fill with what they say meanwhile whatever memory is wrongly free. */
async function readOnceFull(socket: Socket, isFull: () => boolean, written: Promise<void>): Promise<void> {
  socket.pause();
  let done = false;
  void written.then(() => (done = true));
  await waitUntil(() => isFull() || done, { intervalMs: 1, timeoutMs: 30_000 });
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  socket.resume();
  await written;
}

/** One client and one server that say what is theirs, in random sizes and pieces, and check all they hear. */
async function converse(number: number, seed: number, rounds: number): Promise<number> {
  const random = seededRandom(seed * 1_000 + number);
  const translated = number % 2 === 1;
  const bare = await new BareSession(translated ? classic : modern, { tracked: number % 3 === 0 }).start();
  running.push(bare);
  const atServer: Buffer[] = [];
  const serverFrames = new PeerFrames();
  bare.server.on('data', (chunk: Buffer) => atServer.push(...serverFrames.push(chunk).map(({ payload }) => Buffer.from(payload))));
  const atClient: Buffer[] = [];
  bare.client.on('data', (chunk: Buffer) => atClient.push(chunk));
  const serverFull = (): boolean => bare.session.backend.channel.full;
  const clientFull = (): boolean => bare.session.client.channel.full;
  let bytes = 0;
  for (let round = 0; round < rounds; round++) {
    const statement = pattern(number, round === number % rounds ? 9_000_000 : 1 + random.below(random.oneOf([20, 5_000, 300_000])));
    await readOnceFull(bare.server, serverFull, dribble(bare.client, bare.session.client.channel, serverFull, query(statement.toString()), random));
    await waitUntil(() => atServer.length === 1, { what: `statement ${round} of session ${number}`, timeoutMs: 30_000 });
    expect(atServer.shift()!.equals(Buffer.concat([Buffer.from([Command.query]), statement]))).toBe(true);

    const rowsTotal = round === (number + 1) % rounds ? 250 : random.below(30);
    const rows = Array.from({ length: rowsTotal }, () => Buffer.concat([Buffer.from([4]), pattern(number, 4 + (rowsTotal === 250 ? 40_000 : random.below(random.oneOf([100, 10_000]))))]));
    const [head, tail] = translated ? [classicResult.slice(0, 3), classicResult.at(-1)!] : [result.slice(0, 2), result.at(-1)!];
    const frames = (payloads: Buffer[]): Buffer => Buffer.concat(payloads.map((payload, index) => framePayload(payload, index + 1)));
    const expected = frames([...head, ...rows, tail]);
    const answer = frames([...result.slice(0, 2), ...rows, result.at(-1)!]);
    await readOnceFull(bare.client, clientFull, dribble(bare.server, bare.session.backend.channel, clientFull, answer, random));
    const length = (): number => atClient.reduce((sum, chunk) => sum + chunk.length, 0);
    await waitUntil(() => length() >= expected.length, { what: `result ${round} of session ${number}`, timeoutMs: 30_000 });
    expect(Buffer.concat(atClient.splice(0)).equals(expected)).toBe(true);
    bytes += expected.length;
  }
  expect(bare.failures).toEqual([]);
  // Its buffers go back and are another session's next.
  bare.stop();
  return bytes;
}

test('no byte of one session is ever seen in another', async () => {
  for (const seed of [1]) {
    const bytes = await Promise.all(Array.from({ length: 4 }, (_, number) => converse(number, seed, 4)));
    expect(bytes.every((count) => count > 0)).toBe(true);
  }
}, 120_000);

test('translated results that wait for their readers stay what they are', async () => {
  const results = 1_000;
  const sessions = await Promise.all([0, 1].map(() => new BareSession(classic).start()));
  running.push(...sessions);
  const frames = (payloads: Buffer[]): Buffer => Buffer.concat(payloads.map((payload, index) => framePayload(payload, index + 1)));
  for (const { client, server } of sessions) {
    client.pause();
    server.resume();
    client.write(Buffer.concat(Array.from({ length: results }, () => query('SELECT 1'))));
  }
  await waitUntil(() => sessions.every(({ session }) => session.commandsTotal === results));
  const said = sessions.map(() => 0);
  // In turns, so that what one has put together is followed by what the other has.
  for (let i = 0; i < results; i++) {
    for (const [number, { server, session }] of sessions.entries()) {
      if (session.client.channel.full) continue;
      const { channel } = session.backend;
      const until = channel.bytesRead;
      const bytes = frames([...result.slice(0, 2), Buffer.concat([Buffer.from([4]), pattern(number, 12_000)]), result.at(-1)!]);
      server.write(bytes);
      said[number]!++;
      await waitUntil(() => channel.bytesRead === until + bytes.length, { intervalMs: 0 });
    }
  }
  for (const [number, { client, session }] of sessions.entries()) {
    expect(session.client.channel.full).toBe(true);
    const one = frames([...classicResult.slice(0, 3), Buffer.concat([Buffer.from([4]), pattern(number, 12_000)]), classicResult.at(-1)!]);
    const got: Buffer[] = [];
    client.on('data', (chunk: Buffer) => got.push(chunk));
    client.resume();
    await waitUntil(() => got.reduce((sum, chunk) => sum + chunk.length, 0) === said[number]! * one.length, { timeoutMs: 20_000 });
    expect(Buffer.concat(got).equals(Buffer.concat(Array.from({ length: said[number]! }, () => one)))).toBe(true);
  }
}, 60_000);

/** Whatever a peer sends: the process stays, the session ends or goes on, and no other one notices. */
test('noise from either side ends its own session at most', async () => {
  const neighbour = await new BareSession(modern).start();
  running.push(neighbour);
  const heard: Buffer[] = [];
  neighbour.server.on('data', (chunk: Buffer) => {
    heard.push(chunk);
    neighbour.server.write(framePayload(ok(2), 1));
  });
  for (let seed = 1; seed <= 60; seed++) {
    const random = seededRandom(seed);
    const bare = await new BareSession(seed % 2 === 0 ? modern : classic, { tracked: seed % 3 === 0 }).start();
    running.push(bare);
    const recorded = Buffer.concat([query('SELECT 1'), query('LOAD DATA LOCAL'), query(`KILL ${2 ** 31 + 5}`)]);
    const answers = Buffer.concat([...result, framePayload(Buffer.from('\xfbfile', 'latin1'), 1)].map((payload, index) => (index < result.length ? framePayload(payload, index + 1) : payload)));
    const mutate = (bytes: Buffer): Buffer => {
      const mutated = Buffer.from(bytes);
      for (let i = 0; i < 1 + random.below(4); i++) mutated[random.below(mutated.length)] = random.below(256);
      return mutated;
    };
    bare.client.resume();
    bare.server.resume();
    for (let i = 0; i < 4; i++) {
      bare.client.write(mutate(recorded));
      bare.server.write(mutate(answers));
      await new Promise((resolve) => setImmediate(resolve));
    }
    bare.client.end();
    bare.server.end();
    await waitUntil(() => bare.ended, { what: `the end of session ${seed}` });
  }
  neighbour.client.write(query('SELECT 1'));
  await waitUntil(() => Buffer.concat(heard).equals(query('SELECT 1')));
}, 60_000);
