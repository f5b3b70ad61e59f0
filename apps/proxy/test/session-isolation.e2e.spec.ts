import type { Socket } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { Command } from '@binnacle/mysql-wire/command';
import { framePayload } from '@binnacle/mysql-wire/packet-header';
import { ok, PeerFrames } from '@binnacle/testing/peer-packets';
import { seededRandom, type SeededRandom } from '@binnacle/testing/seeded-random';
import { waitUntil } from '@binnacle/testing/wait-until';
import { BareSession, classic, modern } from './bare-session.js';
import { classicResult, query, result } from './packet-texts.js';

const running: BareSession[] = [];
afterEach(() => {
  for (const bare of running.splice(0)) bare.stop();
});

/** Bytes that are one session's alone: its number again and again. */
const pattern = (session: number, bytes: number): Buffer => Buffer.alloc(bytes, `<${session}>`);

/** Writes in pieces of any size, now at once, now behind a turn of the loop; `bytes` must not be changed meanwhile. */
async function dribble(socket: Socket, bytes: Buffer, random: SeededRandom): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const length = random.oneOf([1, 3, 4, 5, 100, 2_047, 2_048, 2_049, 30_000, 65_536, 200_000]);
    if (!socket.write(bytes.subarray(at, at + length))) await new Promise((resolve) => socket.once('drain', resolve));
    at += length;
    if (random.below(3) === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Reads now and then, so that writes to it wait: each chunk is checked to be this session's. */
function readSlowly(socket: Socket, random: SeededRandom, got: (chunk: Buffer) => void): void {
  socket.on('data', (chunk: Buffer) => {
    got(chunk);
    if (random.below(4) === 0) {
      socket.pause();
      setTimeout(() => socket.resume(), random.below(4));
    }
  });
}

/** One client and one server that say what is theirs, in random sizes and pieces, and check all they hear. */
async function converse(number: number, seed: number, rounds: number): Promise<number> {
  const random = seededRandom(seed * 1_000 + number);
  const translated = number % 2 === 1;
  const bare = await new BareSession(translated ? classic : modern, { tracked: number % 3 === 0 }).start();
  running.push(bare);
  const atServer: Buffer[] = [];
  const serverFrames = new PeerFrames();
  readSlowly(bare.server, random, (chunk) => atServer.push(...serverFrames.push(chunk).map(({ payload }) => Buffer.from(payload))));
  const atClient: Buffer[] = [];
  readSlowly(bare.client, random, (chunk) => atClient.push(chunk));
  let bytes = 0;
  for (let round = 0; round < rounds; round++) {
    const statement = pattern(number, 1 + random.below(random.oneOf([20, 5_000, 300_000])));
    await dribble(bare.client, query(statement.toString()), random);
    await waitUntil(() => atServer.length === 1, { what: `statement ${round} of session ${number}`, timeoutMs: 30_000 });
    expect(atServer.shift()!.equals(Buffer.concat([Buffer.from([Command.query]), statement]))).toBe(true);

    const rows = Array.from({ length: random.below(30) }, () => Buffer.concat([Buffer.from([4]), pattern(number, 4 + random.below(random.oneOf([100, 100_000])))]));
    const [head, tail] = translated ? [classicResult.slice(0, 3), classicResult.at(-1)!] : [result.slice(0, 2), result.at(-1)!];
    const frames = (payloads: Buffer[]): Buffer => Buffer.concat(payloads.map((payload, index) => framePayload(payload, index + 1)));
    const expected = frames([...head, ...rows, tail]);
    await dribble(bare.server, frames([...result.slice(0, 2), ...rows, result.at(-1)!]), random);
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
  for (const seed of [1, 2, 3]) {
    const bytes = await Promise.all(Array.from({ length: 12 }, (_, number) => converse(number, seed, 6)));
    expect(bytes.every((count) => count > 0)).toBe(true);
  }
}, 120_000);

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
