/*
 * What measuring one command costs the session: forwarded, first byte, done, against prom-client's counter and histogram with an object of labels,
 * fed the same numbers in the same run.
 * After a build:  node apps/proxy/bench/metrics.bench.ts [commands]
 *
 * Sides take turns, medians of the rounds count. With interactions on, the text of each statement is classified as well.
 */
import '../test/typescript-files.mjs';
import { systemClock } from '@binnacle/cluster-state/clock';
import { NodeConfig } from '@binnacle/node-kit/config';
import { pino } from 'pino';
import { Counter, Histogram, Registry } from 'prom-client';

const { latencyBuckets } = await import('../src/metrics/histogram.js');
const { ProxyMetrics } = await import('../src/metrics/proxy-metrics.js');
const { ProxySettings } = await import('../src/settings/proxy-settings.js');

const commandCount = Number(process.argv[2] ?? 1_000_000);
const rounds = 7;
const mode = { ansiQuotes: false, noBackslashEscapes: false };
const statement = 'SELECT c FROM sbtest1 WHERE id = 5021';
const backend = '10.0.0.1:4000';
const query = 3;

function metricsWith(interactions: boolean) {
  const config = new NodeConfig();
  config.advance.queryInteractionMetrics = interactions;
  return new ProxyMetrics(systemClock, pino({ level: 'silent' }), new ProxySettings(config));
}

const measured = [metricsWith(false), metricsWith(true)] as const;
const [plain, interacting] = [measured[0].session(backend, 'sbtest', 1), measured[1].session(backend, 'sbtest', 1)];
const registry = new Registry();
const total = new Counter({ name: 'queries', help: 'q', labelNames: ['backend', 'cmd_type'], registers: [registry] });
const seconds = new Histogram({ name: 'seconds', help: 's', labelNames: ['backend', 'cmd_type'], buckets: latencyBuckets, registers: [registry] });

const sides: Readonly<Record<string, (nowMs: number, ms: number) => void>> = {
  ours(nowMs, ms) {
    plain.commandForwarded(query, nowMs);
    if (plain.awaitsFirstByte) plain.firstByte(nowMs + ms);
    plain.commandDone(query, nowMs + ms);
    plain.bytesRead += 100;
    plain.bytesWritten += 40;
    plain.traffic(nowMs, nowMs);
  },
  'ours, interactions on'(nowMs, ms) {
    if (interacting.commandForwarded(query, nowMs)) interacting.statement(statement, mode);
    if (interacting.awaitsFirstByte) interacting.firstByte(nowMs + ms);
    interacting.commandDone(query, nowMs + ms);
    interacting.bytesRead += 100;
    interacting.bytesWritten += 40;
    interacting.traffic(nowMs, nowMs);
  },
  'prom-client'(_, ms) {
    total.inc({ backend, cmd_type: 'Query' });
    seconds.observe({ backend, cmd_type: 'Query' }, ms / 1_000);
  },
};

const taken: Record<string, number[]> = {};
for (let round = -1; round < rounds; round++) {
  for (const [name, command] of Object.entries(sides)) {
    const startMs = performance.now();
    for (let count = 0; count < commandCount; count++) command(count, (count & 1_023) / 10);
    const us = ((performance.now() - startMs) / commandCount) * 1_000;
    // The first round is for the compiler.
    if (round >= 0) (taken[name] ??= []).push(us);
  }
}
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
const peerUs = median(taken['prom-client'] as number[]);
for (const [name, values] of Object.entries(taken)) console.log(`${name.padEnd(24)} ${median(values).toFixed(3)} µs a command, ${(median(values) / peerUs).toFixed(2)} of prom-client`);
for (const metrics of measured) metrics.stop();
