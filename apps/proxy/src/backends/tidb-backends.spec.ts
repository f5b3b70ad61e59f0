import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer } from 'node:net';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { encodeHandshake } from '@binnacle/mysql-wire/handshake';
import { framePayload } from '@binnacle/mysql-wire/packet-header';
import { BackendChecker } from './backend-checker.js';

const metrics = (cpu: number, backoffs: number): string => `# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total ${cpu}
process_resident_memory_bytes 3e+09
tidb_server_memory_quota_bytes 1e+10
tidb_server_maxprocs 4
tidb_tikvclient_backoff_seconds_count{type="pdRPC"} ${backoffs}
tidb_tikvclient_backoff_seconds_count{type="regionMiss"} 5
tidb_tikvclient_backoff_seconds_count{type="tikvRPC"} 6
tidb_tikvclient_backoff_seconds_count{type="txnLock"} 70000
${'x_filler{a="b"} 1\n'.repeat(10_000)}`;

let sql: TcpServer;
let http: Server;
/** What the status port answers, and how often it was asked. */
const status = { code: 200, certificate: 'cert.pem', cpu: 100, backoffs: 0, metricsAsked: 0 };
/** Bytes that came to the SQL port. */
let received = 0;

beforeAll(async () => {
  const greeting = framePayload(
    encodeHandshake({ serverVersion: '8.0.11-TiDB-v8.5.0', connectionId: 1, scramble: Buffer.alloc(20, 1), collation: 46, statusFlags: 2, authPlugin: 'mysql_native_password', capabilities: 0x00_0b_a2_0d, mariadbCapabilities: 0 }),
    0,
  );
  sql = createTcpServer((socket) => socket.on('error', () => {}).on('data', (chunk) => (received += chunk.length)).write(greeting));
  http = createServer((request, response) => {
    if (request.url === '/status') response.writeHead(status.code).end(JSON.stringify({ connections: 3, version: '8.0.11-TiDB-v8.5.0', git_hash: 'd13e52e' }));
    else if (request.url === '/config') response.end(JSON.stringify({ security: { 'session-token-signing-cert': status.certificate } }));
    else {
      response.end(metrics(status.cpu, status.backoffs));
      status.metricsAsked++;
    }
  });
  for (const server of [sql, http]) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => {
  sql.close();
  http.close().closeAllConnections();
});

let running: BackendChecker | undefined;
afterEach(() => running?.stop());

function startChecker(): { checker: BackendChecker; clock: FakeClock } {
  const clock = new FakeClock();
  const checker = new BackendChecker(
    { host: '127.0.0.1', port: (sql.address() as AddressInfo).port, cluster: 'c', status: { host: '127.0.0.1', port: (http.address() as AddressInfo).port } },
    {
      clock,
      options: () => ({ intervalMs: 3_000, retries: 1, retryMs: 1_000, timeoutMs: 2_000, healthUser: '', healthPassword: '', proxyHeader: false, tls: { mode: 'off', verify: false } }),
      sessions: () => 7,
      changed: () => {},
    },
  );
  checker.start();
  running = checker;
  return { checker, clock };
}

test('TiDB is left alone after its greeting, and asked at its status port for its certificate and its load', async () => {
  const { checker, clock } = startChecker();
  await waitUntil(() => checker.state.healthy);
  expect(received).toBe(0);
  expect(checker.state).toMatchObject({ kind: 'tidb', reason: '', full: false });
  await clock.advance(3_000);
  await waitUntil(() => checker.state.signsTokens === true);
  status.metricsAsked = 0;
  await waitUntil(async () => (await clock.advance(1_000), status.metricsAsked === 1));
  await waitUntil(() => checker.load?.memory !== undefined);
  expect(checker.load).toEqual({ memory: { usage: 0.3, secondsToFull: Infinity } });
  Object.assign(status, { cpu: 120, backoffs: 1_000 });
  await waitUntil(async () => (await clock.advance(1_000), status.metricsAsked === 2));
  await waitUntil(() => checker.load?.cpu !== undefined);
  // 20 seconds of 4 cores, in some 10 s.
  expect(checker.load!.cpu!.latest).toBeGreaterThan(0.3);
  expect(checker.load!.cpu!.latest).toBeLessThanOrEqual(0.5);
  expect(checker.load).toMatchObject({ cpu: { sessions: 7 }, errors: 2 });
});

test('TiDB that shuts down gracefully is unhealthy although its SQL port still greets', async () => {
  const { checker, clock } = startChecker();
  await waitUntil(() => checker.state.healthy);
  status.code = 500;
  try {
    await waitUntil(async () => (await clock.advance(500), !checker.state.healthy));
    expect(checker.state.reason).toBe('/status answers 500');
  } finally {
    status.code = 200;
  }
  await waitUntil(async () => (await clock.advance(500), checker.state.healthy));
});

test('one failure that the next attempt does not repeat changes nothing', async () => {
  const { checker, clock } = startChecker();
  await waitUntil(() => checker.state.healthy);
  const before = checker.state.checkedAtMs!;
  status.code = 500;
  await clock.advance(3_000);
  await waitUntil(() => clock.timerCount() === 3);
  status.code = 200;
  await waitUntil(async () => (await clock.advance(500), checker.state.checkedAtMs! > before));
  expect(checker.state.healthy).toBe(true);
});

test('trouble that is reported is looked into at once', async () => {
  const { checker } = startChecker();
  await waitUntil(() => checker.state.healthy);
  const before = checker.state;
  checker.checkSoon();
  await waitUntil(() => checker.state !== before);
});
