import { afterAll, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from './config-error.js';
import { configWarnings, loadConfig } from './load-config.js';

const folder = mkdtempSync(join(tmpdir(), 'binnacle-tiproxy-'));
afterAll(() => rmSync(folder, { recursive: true }));

function load(toml: string): ReturnType<typeof loadConfig> {
  const path = join(folder, 'proxy.toml');
  writeFileSync(path, toml);
  return loadConfig({ argv: ['--config', path], env: {} });
}

function problems(toml: string): readonly string[] {
  try {
    load(toml);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map((problem) => problem.replaceAll(join(folder, 'proxy.toml'), 'F'));
    throw error;
  }
  throw new Error('the file was accepted');
}

/** Every key that TiProxy documents or writes itself (`tiproxyctl config get`), with values of its own choice. */
const complete = `
workdir = "./work"
enable-traffic-replay = true

[proxy]
addr = "0.0.0.0:6000,0.0.0.0:6001"
advertise-addr = "tiproxy-0.example.com"
pd-addrs = "10.0.0.1:2379,10.0.0.2:2379"
max-connections = 100
high-memory-usage-reject-threshold = 0.8
conn-buffer-size = 65536
proxy-protocol = "v2"
graceful-wait-before-shutdown = 30
graceful-close-conn-timeout = 20
fail-backend-list = ["db-tidb-0", "10.0.0.9:4000"]
failover-timeout = 10
public-endpoints = ["10.1.0.0/16"]
  [proxy.frontend-keepalive]
  enabled = true
  [proxy.backend-healthy-keepalive]
  enabled = true
  idle = "1m0s"
  cnt = 5
  intvl = "3s"
  timeout = "15s"
  [proxy.backend-unhealthy-keepalive]
  enabled = false
  idle = 10000000000
  cnt = 5
  intvl = "1s"
  timeout = "5s"
  [[proxy.backend-clusters]]
  name = "cluster-a"
  pd-addrs = "10.0.0.1:2379,10.0.0.2:2379"
  ns-servers = ["10.0.0.2", "10.0.0.3"]
  [[proxy.backend-clusters]]
  name = "cluster-b"
  pd-addrs = "10.0.1.1:2379"

[api]
addr = "0.0.0.0:13080"
proxy-protocol = "v2"
enable-basic-auth = false
user = ""
password = ""

[advance]
ignore-wrong-namespace = true
query-interaction-metrics = true
query-interaction-slow-log-threshold-ms = 200
query-interaction-slow-log-only-digest = true
query-interaction-user-patterns = "app_*,readonly"
backend-metrics-gc-interval-seconds = 300
backend-metrics-gc-idle-seconds = 3600

[balance]
label-name = "app"
routing-rule = "client_cidr"
policy = "location"
routing-policy = "idlest"
status = { migrations-per-second = 10.5 }
health = { enabled = true, migrations-per-second = 0.0 }
memory = { enabled = true, migrations-per-second = 1 }
cpu = { enabled = false, migrations-per-second = 0.0, min-balance-usage = 0.5 }
location = { enabled = true, migrations-per-second = 0.0 }
conn-count = { migrations-per-second = 0.0, count-ratio-threshold = 1.5 }

[labels]
zone = "east"
app = "Order"

[security]
require-backend-tls = true
encryption = { key-path = "" }
  [security.cluster-tls]
  ca = "cluster-ca.pem"
  cert = "cluster.pem"
  key = "cluster-key.pem"
  min-tls-version = "1.2"
  [security.sql-tls]
  skip-ca = true
  [security.server-tls]
  cert = "server.pem"
  key = "server-key.pem"
  auto-certs = true
  rsa-key-size = 4096
  autocert-expire-duration = "72h"
  [security.server-http-tls]
  cert = "http.pem"
  key = "http-key.pem"
  auto-certs = true
  skip-ca = true

[log]
encoder = "tidb"
level = "warning"
  [log.log-file]
  filename = "/var/log/tiproxy.log"
  max-size = 300
  max-days = 3
  max-backups = 3

[ha]
virtual-ip = "10.10.10.10/32"
interface = "eth0"
garp-burst-count = 5
garp-burst-interval = "50ms"
garp-refresh-count = 30
garp-refresh-interval = "1s"

[metering]
type = "s3"
bucket = "b"
  [metering.aws]
  assume-role-arn = "arn"
`;

test('a file with every key of TiProxy is read, each value where it belongs', () => {
  const config = load(complete);
  expect(config.proxy).toMatchObject({
    addr: ['0.0.0.0:6000', '0.0.0.0:6001'],
    pdAddrs: ['10.0.0.1:2379', '10.0.0.2:2379'],
    maxConnections: 100,
    highMemoryUsageRejectThreshold: 0.8,
    proxyProtocol: 'v2',
    gracefulWaitBeforeShutdownS: 30,
    gracefulCloseConnTimeoutS: 20,
    failBackendList: ['db-tidb-0', '10.0.0.9:4000'],
    failoverTimeoutS: 10,
    frontendKeepalive: { enabled: true, idleMs: 0 },
    backendHealthyKeepalive: { enabled: true, idleMs: 60_000, cnt: 5, intvlMs: 3_000 },
    backendUnhealthyKeepalive: { enabled: false, idleMs: 10_000, cnt: 5, intvlMs: 1_000 },
    backendClusters: [
      { name: 'cluster-a', pdAddrs: ['10.0.0.1:2379', '10.0.0.2:2379'], nsServers: ['10.0.0.2', '10.0.0.3'], backends: [] },
      { name: 'cluster-b', pdAddrs: ['10.0.1.1:2379'], nsServers: [], backends: [] },
    ],
  });
  expect(config.advance).toEqual({
    queryInteractionMetrics: true,
    queryInteractionSlowLogThresholdMs: 200,
    queryInteractionSlowLogOnlyDigest: true,
    queryInteractionUserPatterns: 'app_*,readonly',
    backendMetricsGcIntervalSeconds: 300,
    backendMetricsGcIdleSeconds: 3_600,
  });
  expect(config.balance).toEqual({
    labelName: 'app',
    policy: 'location',
    routingPolicy: 'idlest',
    status: { migrationsPerSecond: 10.5 },
    health: { enabled: true, migrationsPerSecond: 0 },
    memory: { enabled: true, migrationsPerSecond: 1 },
    cpu: { enabled: false, migrationsPerSecond: 0, minBalanceUsage: 0.5 },
    location: { enabled: true, migrationsPerSecond: 0 },
    connCount: { migrationsPerSecond: 0, countRatioThreshold: 1.5 },
  });
  expect(config.labels).toEqual({ zone: 'east', app: 'Order' });
  expect(config.security).toMatchObject({
    requireBackendTls: true,
    clusterTls: { ca: 'cluster-ca.pem', cert: 'cluster.pem', key: 'cluster-key.pem', minTlsVersion: '1.2' },
    sqlTls: { skipCa: true },
    serverTls: { cert: 'server.pem', key: 'server-key.pem' },
  });
  expect(config.gateway).toMatchObject({ host: '127.0.0.1', tiproxyPort: 13_080, tlsCertFile: 'http.pem', tlsKeyFile: 'http-key.pem' });
  expect([config.dataDir, config.log.level, config.log.format]).toEqual(['./work', 'warn', 'auto']);
});

test('each key without a meaning here gets one warning that says why, and no value of it', () => {
  const warnings = configWarnings(load(complete));
  const names = warnings.map((warning) => warning.split(' ')[0]);
  expect(new Set(names).size).toBe(names.length);
  expect(names.sort()).toEqual(
    [
      'advance.ignore-wrong-namespace',
      'api.addr',
      'api.enable-basic-auth',
      'api.password',
      'api.proxy-protocol',
      'api.user',
      'balance.routing-rule',
      ...['burst-count', 'burst-interval', 'refresh-count', 'refresh-interval'].map((leaf) => `ha.garp-${leaf}`),
      'ha.interface',
      'ha.virtual-ip',
      'log.encoder',
      ...['filename', 'max-backups', 'max-days', 'max-size'].map((leaf) => `log.log-file.${leaf}`),
      'metering.aws.assume-role-arn',
      'metering.bucket',
      'metering.type',
      'proxy.advertise-addr',
      'proxy.backend-healthy-keepalive.timeout',
      'proxy.backend-unhealthy-keepalive.timeout',
      'proxy.conn-buffer-size',
      'proxy.public-endpoints',
      'security.server-http-tls.auto-certs',
      'security.server-http-tls.skip-ca',
      'security.server-tls.auto-certs',
      'security.server-tls.autocert-expire-duration',
      'security.server-tls.rsa-key-size',
    ].sort(),
  );
  expect(warnings.join('\n')).toContain('the API listens on gateway.host');
  expect(warnings.join('\n')).not.toContain('tiproxy-0.example.com');
});

test('the file of the README starts a proxy without a warning', () => {
  const config = load('[proxy]\n    pd-addrs = "127.0.0.1:2379"\n[advance]\nquery-interaction-metrics = true\n');
  expect(config.proxy.pdAddrs).toEqual(['127.0.0.1:2379']);
  expect(configWarnings(config)).toEqual([]);
});

test('an SQL port that others reach starts, and one line says that it is not encrypted', () => {
  expect(configWarnings(load('[proxy]\naddr = "0.0.0.0:6000,127.0.0.1:6001"'))).toEqual([
    'proxy.addr 0.0.0.0:6000 is reached by other machines, and without security.server-tls.cert their clients cannot encrypt what they say',
  ]);
  expect(configWarnings(load('[proxy]\naddr = "0.0.0.0:6000"\n[security.server-tls]\ncert = "c.pem"\nkey = "k.pem"'))).toEqual([]);
});

test('what TiProxy has never had is a mistake, named with what was probably meant', () => {
  expect(problems('[proxy]\nmax-connection = 5\n[proxy.frontend-keepalive]\nidel = "5s"\n[api]\nadr = "x"\n[securty]\nx = 1')).toEqual([
    'unknown key "proxy.max-connection" in F; did you mean "proxy.max-connections"?',
    'unknown key "proxy.frontend-keepalive.idel" in F; did you mean "proxy.frontend-keepalive.idle"?',
    'unknown key "api.adr" in F',
    'unknown section "securty" in F; did you mean "security"?',
  ]);
});

test.each([
  ['[proxy]\nport-range = [7000, 6000]', 'proxy.port-range (from F) must be two ports, the lower first; or nothing, not [7000,6000]'],
  ['[proxy]\nport-range = [6000, 6001]\naddr = "a:1,b:2"', 'proxy.port-range wants one address in proxy.addr, whose host it takes'],
  ['[proxy]\naddr = "6000"', 'proxy.addr (from F) must be one or more of host:port, not "6000"'],
  ['[proxy]\nproxy-protocol = "v1"', 'proxy.proxy-protocol (from F) must be one of nothing, v2, not "v1"'],
  ['[[proxy.backend-clusters]]\nname = "a"', expect.stringContaining('proxy.backend-clusters (from F) must be tables with name')],
  ['[[proxy.backend-clusters]]\nname = "a"\npd-adrs = "x:1"', expect.stringContaining('proxy.backend-clusters (from F) must be tables')],
  ['[balance.conn-count]\ncount-ratio-threshold = 0.9', 'balance.conn-count.count-ratio-threshold (from F) must be 0, or a number over 1, not 0.9'],
  ['[proxy.frontend-keepalive]\nidle = "soon"', 'proxy.frontend-keepalive.idle (from F) must be a duration up to 24h, such as 60s, not "soon"'],
  ['[proxy]\nhigh-memory-usage-reject-threshold = 1.1', 'proxy.high-memory-usage-reject-threshold (from F) must be a number from 0 to 1, not 1.1'],
  ['labels = 5', 'labels (from F) must be a table of texts; zone=east,rack=1 outside the file, not 5'],
])('%j is refused', (toml, problem) => {
  expect(problems(toml)).toEqual([problem]);
});

test('a threshold under a half counts as a half, as in TiProxy', () => {
  expect(load('[proxy]\nhigh-memory-usage-reject-threshold = 0.4').proxy.highMemoryUsageRejectThreshold).toBe(0.5);
});
