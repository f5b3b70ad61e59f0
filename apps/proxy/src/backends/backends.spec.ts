import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { systemClock } from '@binnacle/cluster-state/clock';
import { LogConfig } from '@binnacle/node-kit/config';
import { AdvanceConfig, BalanceConfig, ProxyConfig, SecurityConfig } from '@binnacle/node-kit/proxy-config';
import { startGalera } from '@binnacle/testing/galera';
import { startMariadb, type MariadbServer } from '@binnacle/testing/mariadb-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { pino } from 'pino';
import type { SessionCount } from '../balance/orders.js';
import { ProxySettings } from '../settings/proxy-settings.js';
import { mayMove, type ScoredBackend } from './backend.js';
import { Backends } from './backends.js';

const log = pino({ level: 'silent' });

/** Checks as fast as a test wants them. */
const fast = { healthCheckIntervalMs: 100, healthCheckTimeoutMs: 400, healthCheckRetries: 1, healthCheckRetryIntervalMs: 50 };
const asRoot = { healthUser: 'root', healthPassword: 'root' };

function settingsOf(proxy: Partial<ProxyConfig>): ProxySettings {
  return new ProxySettings({
    proxy: Object.assign(new ProxyConfig(), fast, proxy),
    balance: new BalanceConfig(),
    security: new SecurityConfig(),
    advance: new AdvanceConfig(),
    labels: {},
    log: new LogConfig(),
  });
}

let started: Backends[] = [];
let drained: { id: string; sinceMs: number }[] = [];
let counts: SessionCount[] = [];

function startBackends(settings: ProxySettings): Backends {
  const backends = new Backends({
    settings,
    clock: systemClock,
    log,
    drained: () => drained,
    counts: () => counts,
    tls: () => ({ mode: 'preferred', verify: false }),
    clusterTls: () => undefined,
    env: {},
  });
  backends.start();
  started.push(backends);
  return backends;
}

afterEach(() => {
  for (const backends of started) backends.stop();
  started = [];
  drained = [];
  counts = [];
});

const sessionsOn = (backend: string, sessions: number): SessionCount => ({ backend, role: 'writer', sessions, leaving: 0, arriving: 0, resting: 0 });

async function until(backends: Backends, id: string, what: string, fits: (backend: ScoredBackend) => boolean): Promise<ScoredBackend> {
  return waitUntil(() => backends.view().backends.find((backend) => backend.id === id && fits(backend)), { what: `${id}: ${what}`, timeoutMs: 20_000 });
}

let source: MariadbServer;
let replica: MariadbServer;
let [sourceId, replicaId] = ['', ''];

beforeAll(async () => {
  source = await startMariadb({ args: ['--log-slave-updates'] });
  replica = await startMariadb({ replicaOf: source, args: ['--read-only=1', '--log-slave-updates'] });
  [sourceId, replicaId] = [`127.0.0.1:${source.port}`, `127.0.0.1:${replica.port}`];
}, 120_000);

afterAll(async () => {
  await replica?.stop();
  await source?.stop();
});

test('a source and its replica are one group, with their roles and positions, and their functions are known', async () => {
  await source.sql("CREATE FUNCTION test.Twice(x INT) RETURNS INT DETERMINISTIC RETURN 2 * x");
  const backends = startBackends(settingsOf({ backends: [sourceId, replicaId], ...asRoot }));
  const writer = await until(backends, sourceId, 'healthy', ({ healthy }) => healthy);
  const reader = await until(backends, replicaId, 'in the group', ({ healthy, group }) => healthy && group.startsWith('replication:'));
  expect(backends.view().backends.find(({ id }) => id === sourceId)!.group).toBe(`replication:${sourceId}`);
  expect(reader).toMatchObject({ kind: 'mariadb', readOnly: true, group: `replication:${sourceId}`, draining: false, reason: '' });
  expect(writer).toMatchObject({ kind: 'mariadb', readOnly: false, gtidPosition: expect.stringMatching(/^\d+-\d+-\d+$/) });
  expect(writer.greeting!.serverVersion).toContain('MariaDB');
  expect(writer.storedFunctions!.has('twice')).toBe(true);
  expect(mayMove(writer, reader, 'writer')).toBe(false);
  expect(mayMove(writer, reader, 'replica')).toBe(true);
}, 60_000);

test('a replica without read_only gets no session that may write, and says why', async () => {
  await replica.sql('SET GLOBAL read_only = 0');
  try {
    const backends = startBackends(settingsOf({ backends: [sourceId, replicaId], ...asRoot }));
    const writer = await until(backends, sourceId, 'healthy', ({ healthy }) => healthy);
    const reader = await until(backends, replicaId, 'in the group', ({ group }) => group === `replication:${sourceId}`);
    expect(reader.readOnly).toBe(true);
    expect(mayMove(writer, reader, 'writer')).toBe(false);
    expect(mayMove(writer, reader, 'replica')).toBe(true);
    const notices = new Map(backends.reports().map(({ id, notice }) => [id, notice]));
    expect(notices.get(replicaId)).toBe(`it replicates from ${sourceId} and lacks read_only: no session that may write comes here all the same`);
    expect(notices.get(sourceId)).toBe('');
  } finally {
    await replica.sql('SET GLOBAL read_only = 1');
  }
}, 60_000);

test('roles that are swapped are seen, and the sessions may then go to the new source', async () => {
  const backends = startBackends(settingsOf({ backends: [sourceId, replicaId], ...asRoot }));
  await until(backends, replicaId, 'in the group', ({ group }) => group === `replication:${sourceId}`);
  try {
    await source.sql('SET GLOBAL read_only = 1');
    await replica.sql('STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0');
    const next = await until(backends, replicaId, 'takes writes', ({ readOnly, group }) => !readOnly && group === replicaId);
    const old = await until(backends, sourceId, 'read-only', ({ readOnly, group }) => readOnly && group === replicaId);
    expect(mayMove(old, next, 'writer')).toBe(true);
    expect(mayMove(next, old, 'writer')).toBe(false);
    // Two that take writes, and do not know of each other, have nothing in common.
    await source.sql('SET GLOBAL read_only = 0');
    await until(backends, sourceId, 'alone', ({ readOnly, group }) => !readOnly && group === sourceId);
  } finally {
    const master = `MASTER_HOST='127.0.0.1', MASTER_PORT=${source.port}, MASTER_USER='root', MASTER_PASSWORD='root', MASTER_USE_GTID=slave_pos`;
    await replica.sql(`SET GLOBAL read_only = 1; CHANGE MASTER TO ${master}; START SLAVE; SET GLOBAL read_only = 1`);
    await source.sql('SET GLOBAL read_only = 0');
  }
  await until(backends, replicaId, 'a replica again', ({ readOnly, group }) => readOnly && group === `replication:${sourceId}`);
}, 60_000);

test('a server that was killed is unhealthy with the reason, and healthy again when it is back', async () => {
  const backends = startBackends(settingsOf({ backends: [sourceId, replicaId], ...asRoot }));
  await until(backends, replicaId, 'healthy', ({ healthy }) => healthy);
  await replica.kill9();
  const dead = await until(backends, replicaId, 'dead', ({ healthy }) => !healthy);
  expect(dead.reason).toContain('ECONNREFUSED');
  // What it was, it still is: its sessions have to know where they may go.
  expect(dead).toMatchObject({ readOnly: true, group: `replication:${sourceId}` });
  await replica.restart();
  await until(backends, replicaId, 'back', ({ healthy }) => healthy);
}, 60_000);

test('a server that hangs does not delay the checks of the others', async () => {
  const backends = startBackends(settingsOf({ backends: [sourceId, replicaId], ...asRoot }));
  await until(backends, sourceId, 'healthy', ({ healthy }) => healthy);
  await until(backends, replicaId, 'healthy', ({ healthy }) => healthy);
  replica.pause();
  try {
    // Already before it counts as dead, new sessions try the others first.
    await until(backends, replicaId, 'suspected', ({ healthy, unsteady }) => healthy && unsteady === true);
    const dead = await until(backends, replicaId, 'dead', ({ healthy }) => !healthy);
    expect(dead.reason).toMatch(/within \d+ ms/);
    const checked = (): number => backends.reports().find(({ id }) => id === sourceId)!.state.checkedAtMs!;
    const first = checked();
    const startMs = performance.now();
    await waitUntil(() => checked() > first + 300, { what: 'the other one is checked on' });
    expect(performance.now() - startMs).toBeLessThan(3_000);
    expect(backends.view().backends.find(({ id }) => id === sourceId)!.healthy).toBe(true);
  } finally {
    replica.resume();
  }
  await until(backends, replicaId, 'back', ({ healthy }) => healthy);
}, 60_000);

test('a server without free connections is full, not dead', async () => {
  const backends = startBackends(settingsOf({ backends: [sourceId] }));
  await until(backends, sourceId, 'healthy', ({ healthy }) => healthy);
  await source.sql('SET GLOBAL max_connections = 10');
  const guests: Socket[] = [];
  try {
    for (let i = 0; i < 14; i++) guests.push(connect(source.port, '127.0.0.1').on('error', () => {}));
    const full = await until(backends, sourceId, 'full', (backend) => backend.full === true);
    expect(full).toMatchObject({ healthy: true, reason: '' });
    for (const guest of guests) guest.destroy();
    await until(backends, sourceId, 'free again', (backend) => backend.full === undefined);
  } finally {
    for (const guest of guests) guest.destroy();
    await waitUntil(() => source.sql('SET GLOBAL max_connections = 151').then(() => true, () => false), { what: 'a free connection' });
  }
}, 60_000);

test('checks without a user are no failed connections to the server; a user that may not log in is told, and harms nothing', async () => {
  const before = await failedConnections();
  const backends = startBackends(settingsOf({ backends: [sourceId] }));
  await until(backends, sourceId, 'healthy', ({ healthy }) => healthy);
  const settled = backends.reports()[0]!.state.checkedAtMs!;
  await waitUntil(() => backends.reports()[0]!.state.checkedAtMs! > settled + 500, { what: 'some more checks' });
  expect(await failedConnections()).toBe(before);
  const other = startBackends(settingsOf({ backends: [sourceId], healthUser: 'root', healthPassword: 'wrong' }));
  await until(other, sourceId, 'healthy', ({ healthy }) => healthy);
  expect(other.reports()[0]!.notice).toMatch(/health user cannot log in: Access denied/);
  await source.sql("CREATE USER health@'127.0.0.1' IDENTIFIED BY 'h'");
  const third = startBackends(settingsOf({ backends: [sourceId], healthUser: 'health', healthPassword: 'h' }));
  expect(await until(third, sourceId, 'healthy', ({ healthy }) => healthy)).not.toHaveProperty('storedFunctions');
  expect(third.reports()[0]!.notice).toBe('the health user may not run SHOW ALL SLAVES STATUS, so it is not known what this server replicates from');
}, 60_000);

async function failedConnections(): Promise<string> {
  return source.sql("SHOW GLOBAL STATUS LIKE 'Aborted_connects_preauth'");
}

test('the fail list drains, by address or by host, with a time to close; what would leave nothing is ignored', async () => {
  const settings = settingsOf({ backends: [sourceId, replicaId], failoverTimeoutS: 0 });
  const backends = startBackends(settings);
  await until(backends, sourceId, 'healthy', ({ healthy }) => healthy);
  await until(backends, replicaId, 'healthy', ({ healthy }) => healthy);
  counts = [sessionsOn(sourceId, 3)];
  const change = (failBackendList: string[]): void => settings.update({ ...settings.current, proxy: Object.assign(new ProxyConfig(), settings.current.proxy, { failBackendList }) });
  change([sourceId]);
  const failed = await until(backends, sourceId, 'draining', ({ draining }) => draining);
  expect(failed).toMatchObject({ healthy: true, reason: 'on the fail list' });
  expect(backends.closeOrders(Date.now())).toEqual([{ from: sourceId, reason: 'on the fail list' }]);
  expect(backends.closeOrders(Date.now())).toEqual([]);
  change(['127.0.0.1']);
  await until(backends, sourceId, 'ignored', ({ draining }) => !draining);
  expect(backends.closeOrders(Date.now() + 60_000)).toEqual([]);
}, 60_000);

test('a drained backend, and one that no source knows any more, gets no sessions; the latter stays until it has none', async () => {
  const settings = settingsOf({ backends: [sourceId, replicaId], loginTimeoutMs: 500 });
  const backends = startBackends(settings);
  await until(backends, sourceId, 'healthy', ({ healthy }) => healthy);
  drained = [{ id: sourceId, sinceMs: 1_000 }];
  backends.refresh();
  expect(await until(backends, sourceId, 'drained', ({ draining }) => draining)).toMatchObject({ reason: 'drained by an operator', closeAtMs: 61_000 });
  counts = [sessionsOn(replicaId, 1)];
  settings.update({ ...settings.current, proxy: Object.assign(new ProxyConfig(), settings.current.proxy, { backends: [sourceId] }) });
  const gone = await until(backends, replicaId, 'to be left', ({ draining }) => draining);
  expect(gone.reason).toBe('no source knows it any more');
  expect(gone.closeAtMs).toBeUndefined();
  counts = [];
  await waitUntil(() => !backends.view().backends.some(({ id }) => id === replicaId), { what: 'gone' });
}, 60_000);

test('an instance of two namespaces is in both clusters', async () => {
  const backends = startBackends(settingsOf({}));
  backends.setNamespaces([
    { cluster: 'b', instances: [sourceId] },
    { cluster: 'a', instances: [sourceId, replicaId] },
  ]);
  const shared = await until(backends, sourceId, 'healthy', ({ healthy }) => healthy);
  expect(shared.clusters).toEqual(['a', 'b']);
  expect(await until(backends, replicaId, 'healthy', ({ healthy }) => healthy)).toMatchObject({ cluster: 'a' });
}, 60_000);

test.each([
  ['silence', () => {}, /no greeting within/],
  ['a connection that closes', (socket: Socket) => socket.end(), /closed the connection/],
  ['another protocol', (socket: Socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'), /./],
  ['a host that is blocked', (socket: Socket) => socket.end(Buffer.from([4, 0, 0, 0, 0xff, 0x69, 0x04, 0x21])), /!/],
])('%s is no greeting', async (_what, answer, reason) => {
  const server: Server = createServer((socket) => {
    socket.on('error', () => {});
    answer(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const id = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const backends = startBackends(settingsOf({ backends: [id] }));
    const { healthy, reason: told } = await until(backends, id, 'checked', (backend) => backend.reason !== 'not checked yet');
    expect(healthy).toBe(false);
    expect(told).toMatch(reason);
  } finally {
    server.close();
  }
}, 30_000);

test('nodes of one Galera cluster are one group; one that is not ready serves nobody', async () => {
  const cluster = await startGalera();
  try {
    const [first, second] = cluster.nodes.map(({ port }) => `127.0.0.1:${port}`) as [string, string];
    const backends = startBackends(settingsOf({ backends: [first, second], ...asRoot }));
    const one = await until(backends, first, 'in its cluster', ({ healthy, group }) => healthy && group.startsWith('galera:'));
    const other = await until(backends, second, 'in its cluster', ({ healthy, group }) => healthy && group === one.group);
    expect(mayMove(one, other, 'writer')).toBe(true);
    // Without its cluster it answers, and every query with error 1047. The statement itself may wait for the cluster that is not there.
    void cluster.nodes[1]!.sql("SET GLOBAL wsrep_cluster_address = 'gcomm://127.0.0.1:1'").catch(() => {});
    const isolated = await until(backends, second, 'not ready', ({ healthy }) => !healthy);
    expect(isolated.reason).toMatch(/Galera is not ready/);
    expect(isolated.group).toBe(one.group);
  } finally {
    await cluster.stop();
  }
}, 120_000);
