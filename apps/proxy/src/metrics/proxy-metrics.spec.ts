import { expect, test } from '@jest/globals';
import { Command } from '@binnacle/mysql-wire/command';
import { statementDigest } from '@binnacle/mysql-wire/digest';
import { NodeConfig } from '@binnacle/node-kit/config';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { ProxySettings } from '../settings/proxy-settings.js';
import { countsOf, exportMetrics, mergeSnapshots } from './metrics-export.js';
import { ProxyMetrics } from './proxy-metrics.js';

const mode = { ansiQuotes: false, noBackslashEscapes: false };
const backend = '10.0.0.1:4000';

function under(advance: Partial<NodeConfig['advance']> = {}) {
  const config = new NodeConfig();
  Object.assign(config.advance, advance);
  const settings = new ProxySettings(config);
  const lines: Record<string, unknown>[] = [];
  const clock = new FakeClock();
  const log = pino({ base: null, timestamp: false }, { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) });
  const metrics = new ProxyMetrics(clock, log, settings);
  const change = (next: Partial<NodeConfig['advance']>): void => settings.update({ ...settings.current, advance: { ...settings.current.advance, ...next } });
  return { clock, metrics, lines, change };
}

async function exposition(metrics: ProxyMetrics): Promise<string> {
  const registry = new Registry();
  exportMetrics(registry, async () => metrics.snapshot());
  return registry.metrics();
}

/** One command as a session measures it. */
function run(meter: ReturnType<ProxyMetrics['session']>, command: number, text: string | undefined, firstMs: number, endMs = firstMs): boolean {
  const wanted = meter.commandForwarded(command, 1_000);
  if (wanted && text !== undefined) meter.statement(text, mode);
  meter.firstByte(1_000 + firstMs);
  meter.firstByte(1_000 + firstMs + 50_000);
  meter.commandDone(command, 1_000 + endMs);
  return wanted;
}

test("every metric of TiProxy's is there by its name and type, those without labels from the start", async () => {
  const text = await exposition(under().metrics);
  const types = Object.fromEntries([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]));
  expect(types).toMatchObject({
    tiproxy_server_connections: 'gauge',
    tiproxy_server_create_connection_total: 'counter',
    tiproxy_server_reject_connection_total: 'counter',
    tiproxy_server_disconnection_total: 'counter',
    tiproxy_server_maxprocs: 'gauge',
    tiproxy_server_event: 'counter',
    tiproxy_server_err: 'counter',
    tiproxy_session_query_total: 'counter',
    tiproxy_session_query_duration_seconds: 'histogram',
    tiproxy_session_query_interaction_duration_seconds: 'histogram',
    tiproxy_session_handshake_duration_seconds: 'histogram',
    tiproxy_session_conn_lifetime_seconds: 'histogram',
    tiproxy_backend_b_status: 'gauge',
    tiproxy_backend_get_backend: 'counter',
    tiproxy_backend_dial_backend_fail: 'counter',
    tiproxy_backend_ping_duration_seconds: 'gauge',
    tiproxy_backend_health_check_seconds: 'gauge',
    tiproxy_balance_b_conn: 'gauge',
    tiproxy_balance_migrate_total: 'counter',
    tiproxy_balance_migrate_duration_seconds: 'histogram',
    tiproxy_balance_pending_migrate: 'gauge',
    tiproxy_balance_b_score: 'gauge',
    tiproxy_traffic_inbound_bytes: 'counter',
    tiproxy_traffic_inbound_packets: 'counter',
    tiproxy_traffic_outbound_bytes: 'counter',
    tiproxy_traffic_outbound_packets: 'counter',
    binnacle_proxy_sessions_unmovable: 'gauge',
    binnacle_proxy_migration_pause_seconds: 'histogram',
  });
  expect(text).toContain('\ntiproxy_server_create_connection_total 0\n');
  expect(text).toContain('\ntiproxy_session_conn_lifetime_seconds_count 0\n');
});

test('commands, traffic and moves carry TiProxy\'s labels and words', async () => {
  const { metrics } = under();
  const meter = metrics.session(backend, 'root', 1);
  run(meter, Command.query, 'select 1', 0.4, 3);
  run(meter, Command.stmtExecute, undefined, 1, 1);
  run(meter, Command.resetConnection, undefined, 1, 1);
  for (const [read, packetsRead, written, packetsWritten] of [[100, 2, 40, 1], [50, 3, 20, 2]] as const) {
    meter.bytesRead += read;
    meter.bytesWritten += written;
    meter.traffic(packetsRead, packetsWritten);
  }
  meter.commandForwarded(Command.stmtClose, 1_000);
  metrics.handshakeDone(backend, 30);
  metrics.connectionOpened();
  metrics.connectionRejected('max_connections');
  metrics.connectionClosed('client network break', 60_000);
  metrics.sessionsOn(backend, 1);
  metrics.backendSearched(true, 1);
  metrics.dialFailed(backend);
  metrics.moved({ from: backend, to: 'b:1', reason: 'conn', result: 'moved', pauseMs: 4 }, 25);
  metrics.moved({ from: backend, to: 'b:1', reason: 'status', result: 'failed', pauseMs: 0 }, 5);
  metrics.replace('score', [[[backend, 'cpu'], 3]]);
  metrics.replace('pendingMigrations', [[[backend, 'b:1', 'cpu'], 2]]);
  metrics.replace('unmovable', [[['transaction'], 5]]);
  metrics.refused('default', 'digest');
  const text = await exposition(metrics);
  for (const line of [
    `tiproxy_session_query_total{backend="${backend}",cmd_type="Query"} 1`,
    `tiproxy_session_query_total{backend="${backend}",cmd_type="StmtExecute"} 1`,
    `tiproxy_session_query_total{backend="${backend}",cmd_type="ResetConnect"} 1`,
    `tiproxy_session_query_total{backend="${backend}",cmd_type="StmtClose"} 1`,
    `tiproxy_session_query_duration_seconds_bucket{backend="${backend}",cmd_type="Query",le="0.002"} 0`,
    `tiproxy_session_query_duration_seconds_bucket{backend="${backend}",cmd_type="Query",le="0.004"} 1`,
    `tiproxy_session_query_duration_seconds_bucket{backend="${backend}",cmd_type="Query",le="+Inf"} 1`,
    `tiproxy_session_query_duration_seconds_sum{backend="${backend}",cmd_type="Query"} 0.003`,
    `tiproxy_session_query_duration_seconds_count{backend="${backend}",cmd_type="Query"} 1`,
    `tiproxy_session_handshake_duration_seconds_count{backend="${backend}"} 1`,
    `tiproxy_traffic_inbound_bytes{backend="${backend}"} 150`,
    `tiproxy_traffic_inbound_packets{backend="${backend}"} 3`,
    `tiproxy_traffic_outbound_bytes{backend="${backend}"} 60`,
    `tiproxy_traffic_outbound_packets{backend="${backend}"} 2`,
    'tiproxy_server_connections 0',
    'tiproxy_server_reject_connection_total{type="max_connections"} 1',
    'tiproxy_server_disconnection_total{type="client network break"} 1',
    `tiproxy_balance_b_conn{backend="${backend}"} 1`,
    'tiproxy_backend_get_backend{res="succeed"} 1',
    `tiproxy_backend_dial_backend_fail{backend="${backend}"} 1`,
    `tiproxy_balance_migrate_total{from="${backend}",to="b:1",reason="conn",migrate_res="succeed"} 1`,
    `tiproxy_balance_migrate_total{from="${backend}",to="b:1",reason="status",migrate_res="fail"} 1`,
    `tiproxy_balance_migrate_duration_seconds_count{from="${backend}",to="b:1",migrate_res="succeed"} 1`,
    'binnacle_proxy_migration_pause_seconds_count{migrate_res="succeed"} 1',
    `tiproxy_balance_b_score{backend="${backend}",factor="cpu"} 3`,
    `tiproxy_balance_pending_migrate{from="${backend}",to="b:1",reason="cpu"} 2`,
    'binnacle_proxy_sessions_unmovable{reason="transaction"} 5',
    'binnacle_proxy_refused_total{namespace="default",reason="digest"} 1',
  ])
    expect(`\n${text}`).toContain(`\n${line}\n`);
  expect(text).not.toContain('interaction_duration_seconds_count');
});

test('interactions end with the first byte, have a type of statement only for COM_QUERY, and want no text while they are off', async () => {
  const { metrics, change } = under();
  const meter = metrics.session(backend, 'root', 1);
  expect(run(meter, Command.query, 'select 1', 1)).toBe(false);
  change({ queryInteractionMetrics: true });
  expect(run(meter, Command.query, '/* x */ UPDATE t SET a = 1', 1, 900)).toBe(true);
  run(meter, Command.query, 'BEGIN', 1);
  run(meter, Command.query, 'SHOW TABLES', 1);
  expect(run(meter, Command.ping, undefined, 1)).toBe(false);
  meter.commandForwarded(Command.quit, 1_000);
  change({ queryInteractionMetrics: false });
  run(meter, Command.query, 'select 1', 1);
  const counts = [...(await exposition(metrics)).matchAll(/interaction_duration_seconds_count\{backend="10.0.0.1:4000",cmd_type="(\w+)",sql_type="(\w+)"\} (\d+)/g)];
  expect(counts.map(([, ...labels]) => labels.join(' ')).sort()).toEqual(['Ping other 1', 'Query begin 1', 'Query other 1', 'Query update 1']);
});

test('only users that match a pattern are measured, by case, and a change counts for those who are there', async () => {
  const { metrics, change } = under({ queryInteractionMetrics: true, queryInteractionUserPatterns: 'app_*, read?nly' });
  const measured = (user: string): boolean => run(metrics.session(backend, user, 1), Command.query, 'select 1', 1);
  expect(['app_1', 'readonly', 'App_1', 'root', 'readoonly'].map(measured)).toEqual([true, true, false, false, false]);
  const there = metrics.session(backend, 'root', 2);
  expect(run(there, Command.query, 'select 1', 1)).toBe(false);
  change({ queryInteractionUserPatterns: '' });
  expect(run(there, Command.query, 'select 1', 1)).toBe(true);
});

test('a slow interaction is one line, with the statement and without its values', () => {
  const { metrics, lines, change } = under({ queryInteractionMetrics: true, queryInteractionUserPatterns: 'app_*' });
  const meter = metrics.session(backend, 'app_1', 4_000_000_001);
  const secret = "SELECT * FROM t WHERE card = '4111'";
  run(meter, Command.query, secret, 199.9);
  expect(lines).toEqual([]);
  run(meter, Command.query, secret, 200);
  const { digest } = statementDigest(secret, mode);
  expect(lines).toEqual([
    {
      level: 40,
      msg: 'slow mysql interaction',
      interaction_time: expect.stringMatching(/^\d{4}-/),
      interaction_duration: '200.000ms',
      connection_id: 4_000_000_001,
      cmd: 'COM_QUERY',
      sql_type: 'select',
      username: 'app_1',
      backend_addr: backend,
      username_pattern_matched: true,
      username_matched_pattern: 'app_*',
      sql_digest: digest,
      query: 'select * from t where card = ?',
    },
  ]);
  change({ queryInteractionSlowLogOnlyDigest: true, queryInteractionSlowLogThresholdMs: 5 });
  run(meter, Command.query, secret, 5);
  expect(lines[1]).toMatchObject({ sql_digest: digest });
  expect(lines[1]).not.toHaveProperty('query');
  meter.commandForwarded(Command.stmtExecute, 1_000);
  meter.prepared(7);
  meter.firstByte(1_010);
  expect(lines[2]).toMatchObject({ cmd: 'COM_STMT_EXECUTE', sql_type: 'other', stmt_id: 7 });
  change({ queryInteractionSlowLogThresholdMs: 0 });
  run(meter, Command.query, secret, 60_000);
  expect(lines).toHaveLength(3);
});

test('a flood of slow ones does not become a flood of lines', async () => {
  const { metrics, lines } = under({ queryInteractionMetrics: true, queryInteractionSlowLogThresholdMs: 1 });
  const meter = metrics.session(backend, 'a', 1);
  for (let count = 0; count < 150; count++) run(meter, Command.query, 'select 1', 2);
  expect(lines).toHaveLength(100);
  expect(await exposition(metrics)).toContain('binnacle_proxy_slow_log_suppressed_total 50\n');
  meter.commandForwarded(Command.query, 5_000);
  meter.firstByte(5_002);
  expect(lines[100]).toMatchObject({ suppressed: 50 });
});

test('the series of a backend without traffic go after a while, and come back with traffic', async () => {
  const { clock, metrics, change } = under({ backendMetricsGcIntervalSeconds: 10, backendMetricsGcIdleSeconds: 60 });
  const [idle, busy] = [metrics.session('idle:1', 'a', 1), metrics.session('busy:1', 'a', 2)];
  const use = (meter: typeof idle): void => {
    meter.commandForwarded(Command.query, clock.monotonicMs());
    meter.commandDone(Command.query, clock.monotonicMs() + 1);
  };
  const backends = async (): Promise<string[]> => [...(await exposition(metrics)).matchAll(/query_total\{backend="([^"]+)"/g)].map(([, name]) => name as string).sort();
  use(idle);
  for (let round = 0; round < 7; round++) {
    use(busy);
    await clock.advance(10_000);
  }
  expect(await backends()).toEqual(['busy:1']);
  use(idle);
  expect(await backends()).toEqual(['busy:1', 'idle:1']);
  expect(await exposition(metrics)).toContain('tiproxy_session_query_total{backend="idle:1",cmd_type="Query"} 1\n');
  change({ backendMetricsGcIdleSeconds: 0 });
  await clock.advance(1_000_000);
  expect(await backends()).toEqual(['busy:1', 'idle:1']);
  change({ backendMetricsGcIdleSeconds: 5 });
  await clock.advance(20_000);
  expect(await backends()).toEqual([]);
  metrics.stop();
  expect(clock.timerCount()).toBe(0);
});

test('a session that was moved measures its new backend', async () => {
  const { metrics } = under();
  const meter = metrics.session('a:1', 'u', 1);
  run(meter, Command.query, undefined, 1);
  meter.traffic(2, 5);
  meter.use('b:1');
  run(meter, Command.query, undefined, 1);
  meter.bytesRead = 7;
  meter.bytesWritten = 8;
  meter.traffic(1, 6);
  const text = await exposition(metrics);
  expect(text).toContain('query_total{backend="a:1",cmd_type="Query"} 1');
  expect(text).toContain('query_total{backend="b:1",cmd_type="Query"} 1');
  expect(text).toMatch(/inbound_bytes\{backend="b:1"\} 7\n[^]*inbound_packets\{backend="b:1"\} 1\n[^]*outbound_bytes\{backend="b:1"\} 8\n[^]*outbound_packets\{backend="b:1"\} 1\n/);
  metrics.moved({ from: 'a:1', to: 'b:1', reason: 'conn', result: 'moved', pauseMs: 4 }, 25);
  metrics.keepBackends(new Set(['b:1']));
  expect(await exposition(metrics)).not.toContain('a:1');
  expect(await exposition(metrics)).toContain('query_total{backend="b:1",cmd_type="Query"} 1');
});

test('workers are summed; what one that died had counted stays, what it had does not', async () => {
  const [one, two] = [under().metrics, under().metrics];
  for (const metrics of [one, two]) {
    metrics.connectionOpened();
    run(metrics.session(backend, 'u', 1), Command.query, undefined, 1);
  }
  two.connectionOpened();
  const merged = mergeSnapshots([one.snapshot(), countsOf(structuredClone(two.snapshot()))]);
  expect(merged).toMatchObject({ connections: { '': 1 }, connectionsCreated: { '': 3 }, queries: { [`${backend}\0Query`]: 2 } });
  const registry = new Registry();
  let asked = 0;
  exportMetrics(registry, async () => {
    asked++;
    return merged;
  });
  expect(await registry.metrics()).toContain(`tiproxy_session_query_duration_seconds_count{backend="${backend}",cmd_type="Query"} 2\n`);
  expect(asked).toBe(1);
});

test('what cannot be read leaves the numbers of last time, and labels cannot break a line', async () => {
  const { metrics } = under();
  metrics.event('a"b\nc\\');
  const registry = new Registry();
  let works = true;
  exportMetrics(registry, async () => {
    if (!works) throw new Error('a worker hangs');
    return metrics.snapshot();
  });
  const first = await registry.metrics();
  expect(first).toContain('tiproxy_server_event{type="a\\"b\\nc\\\\"} 1\n');
  works = false;
  expect(await registry.metrics()).toBe(first);
});

test('no more than so many series of one family are kept', () => {
  const { metrics } = under();
  for (let count = 0; count < 5_000; count++) metrics.dialFailed(`10.0.0.1:${count}`);
  expect(Object.keys(metrics.snapshot().dialFailures ?? {})).toHaveLength(4_096);
});
