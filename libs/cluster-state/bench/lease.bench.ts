/*
 * Lease operations per second through Redis, against the same script called by redis-benchmark, which is C and does nothing with the answers.
 * Run after a build, under Node.js 24:  node libs/cluster-state/bench/lease.bench.ts
 * Both sides renew one lease on one server over one connection with 64 requests in flight; rounds alternate, medians count.
 * The second raw figure is redis-benchmark with 64 connections of one request each, which is what 64 separate processes would do.
 */
import '../test/typescript-hook.mjs';
import { startRedis } from '@binnacle/testing/redis-server';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';

// Only what is imported from here on goes through the hook.
const { systemClock } = await import('../src/clock.js');
const { RedisClusterState } = await import('../src/redis-cluster-state.js');
const { campaignLua } = await import('../src/redis-scripts.js');

const inFlight = 64;
const rounds = 5;
const roundMs = 3_000;
const operationsPerRawRound = 150_000;
const ttlMs = 60_000;

const run = promisify(execFile);
const server = await startRedis();
const settings = { url: server.url, sentinels: '', cluster: false, caFile: '', prefix: 'bench', timeoutMs: 5_000 };
const state = await RedisClusterState.open(settings, systemClock);
const candidate = { nodeId: 'bench', incarnation: 'bench-1', address: '127.0.0.1:7400' };
const request = { lease: 'leader', candidate, ttlMs, termFloor: 1 };

/** Renewals per second through the library. */
async function measureOurs(): Promise<number> {
  const startMs = performance.now();
  let renewed = 0;
  const renew = async (): Promise<void> => {
    while (performance.now() - startMs < roundMs) {
      const answer = await state.campaign(request);
      if (!answer.held) throw new Error('the lease was lost');
      renewed++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, renew));
  return (renewed * 1_000) / (performance.now() - startMs);
}

/** Calls per second as redis-benchmark reports them. */
async function measureRaw(shape: readonly string[]): Promise<number> {
  const key = '{bench}:lease:leader';
  const sha = createHash('sha1').update(campaignLua).digest('hex');
  const keys = [key, `${key}:waiting`, `${key}:history`, '{bench}:leases'];
  const args = ['bench bench-1', JSON.stringify(candidate), 'bench', String(ttlMs), '1', 'leader', '{bench}:watch:lease:leader'];
  const command = ['EVALSHA', sha, String(keys.length), ...keys, ...args];
  const options = ['-p', String(server.port), '-n', String(operationsPerRawRound), '-q', '--csv', ...shape];
  const { stdout } = await run('redis-benchmark', [...options, ...command]);
  // The name of the test holds commas and quotes; the figures are the last seven fields, requests per second the first of them.
  const row = stdout.trim().split('\n').at(-1)!;
  const perSecond = Number(row.split('","').at(-7));
  if (!Number.isFinite(perSecond)) throw new Error(`cannot read what redis-benchmark said: ${row}`);
  return perSecond;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const figures = { ours: [] as number[], rawPipelined: [] as number[], rawConnections: [] as number[] };

await measureOurs(); // Warm-up, which also loads the script.
for (let round = 0; round < rounds; round++) {
  figures.ours.push(await measureOurs());
  figures.rawPipelined.push(await measureRaw(['-c', '1', '-P', String(inFlight)]));
  figures.rawConnections.push(await measureRaw(['-c', String(inFlight)]));
}

const show = (name: string, values: readonly number[]): void => {
  const spread = values.map((value) => Math.round(value / 1_000)).join(' ');
  console.log(`${name.padEnd(52)} ${Math.round(median(values)).toString().padStart(8)} /s   (rounds, thousands: ${spread})`);
};
show(`lease renewals, library, ${inFlight} in flight`, figures.ours);
show(`EVALSHA, redis-benchmark, 1 connection, -P ${inFlight}`, figures.rawPipelined);
show(`EVALSHA, redis-benchmark, ${inFlight} connections`, figures.rawConnections);
console.log(`ratio to the pipelined one ${(median(figures.ours) / median(figures.rawPipelined)).toFixed(2)} (target 0.50 or more)`);
console.log(`ratio to separate connections ${(median(figures.ours) / median(figures.rawConnections)).toFixed(2)}`);

await state.close();
await server.stop();
