import { expect, test } from '@jest/globals';
import { Command } from '@binnacle/mysql-wire/command';
import { statementDigest } from '@binnacle/mysql-wire/digest';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { Lease, type RefusalReason } from './namespace.js';
import { defaultNamespace, noLimits, type NamespaceLimits, type NamespaceView } from './namespace-document.js';
import { sumUsage, Tenants } from './tenants.js';

const named = (namespace: string, facts: Partial<NamespaceView> = {}): NamespaceView => ({ ...defaultNamespace, namespace, ...facts });
const limited = (namespace: string, limits: Partial<NamespaceLimits>): NamespaceView => named(namespace, { limits: { ...noLimits, ...limits } });

function tenants(...views: NamespaceView[]) {
  const refused: [string, RefusalReason][] = [];
  const clock = new FakeClock();
  return { clock, refused, under: new Tenants({ clock, refused: (...what) => refused.push(what) }, views) };
}

const client = (user: string, address = '192.0.2.1', port = 6_000) => ({ user, address, port });
const mode = { ansiQuotes: false, noBackslashEscapes: false };

function admit(under: Tenants, user: string): Lease {
  const lease = under.match(client(user)).admit(user);
  if (!(lease instanceof Lease)) throw new Error(lease.message);
  return lease;
}

test('a client is in the namespace whose every condition it meets, and else in default', () => {
  const { under } = tenants(
    named('app', { users: ['app_*'] }),
    named('office', { cidrs: ['10.0.0.0/8'] }),
    named('reports', { users: ['app_r*'], ports: [6_001] }),
  );
  const of = (...facts: Parameters<typeof client>): string => under.match(client(...facts)).name;
  expect(of('root')).toBe('default');
  expect(of('app_1')).toBe('app');
  expect(of('root', '10.1.2.3')).toBe('office');
  expect(of('root', '::ffff:10.1.2.3')).toBe('office');
  expect(of('app_r1', '192.0.2.1', 6_001)).toBe('reports');
  expect(of('app_r1', '192.0.2.1', 6_000)).toBe('app');
  expect(of('App_1')).toBe('default');
  expect(of('x', 'no address')).toBe('default');
});

test('of several the one with more conditions, the narrower network, the plainer name, the first name', () => {
  const { under } = tenants(
    named('wide', { cidrs: ['10.0.0.0/8', '2001:db8::/32'] }),
    named('narrow', { cidrs: ['10.1.0.0/16'] }),
    named('both', { cidrs: ['10.0.0.0/8'], users: ['b'] }),
    named('b-glob', { users: ['c*'] }),
    named('a-glob', { users: ['c?'] }),
    named('exact', { users: ['cc'] }),
  );
  const of = (...facts: Parameters<typeof client>): string => under.match(client(...facts)).name;
  expect(of('a', '10.1.2.3')).toBe('narrow');
  expect(of('a', '10.2.2.3')).toBe('wide');
  expect(of('a', '2001:db8::1')).toBe('wide');
  expect(of('b', '10.1.2.3')).toBe('both');
  expect(of('cc')).toBe('exact');
  expect(of('cd')).toBe('a-glob');
});

test('connections are limited, of all and of each user, and given back once', () => {
  const { under, refused } = tenants(limited('default', { connections: 3, connectionsPerUser: 2 }));
  const [first] = [admit(under, 'a'), admit(under, 'a')];
  expect(under.match(client('a')).admit('a')).toMatchObject({ code: 1203, sqlState: '42000' });
  admit(under, 'b');
  expect(under.match(client('c')).admit('c')).toMatchObject({ code: 1040, sqlState: '08004' });
  first.close();
  first.close();
  admit(under, 'c');
  expect(under.match(client('d')).admit('d')).toMatchObject({ code: 1040 });
  expect(refused.map(([, reason]) => reason)).toEqual(['connections-per-user', 'connections', 'connections']);
});

test('a namespace without limits is not asked, and one with some counts what runs statements', () => {
  const { under } = tenants(limited('default', { concurrentQueries: 1, queueMax: 0 }), named('free', { users: ['free'] }));
  expect(admit(under, 'free').namespace.limited).toBe(false);
  const [one, other] = [admit(under, 'a'), admit(under, 'b')];
  expect(one.namespace.limited).toBe(true);
  expect(one.begin(Command.query, false)).toBeUndefined();
  expect(other.begin(Command.ping, false)).toBeUndefined();
  expect(other.begin(Command.stmtExecute, false)).toMatchObject({ code: 1226, sqlState: '42000' });
  one.end();
  one.end();
  expect(other.begin(Command.stmtExecute, false)).toBeUndefined();
});

test('a session that ends gives its turn, or its place in the line, to others', async () => {
  const { under } = tenants(limited('default', { concurrentQueries: 1 }));
  const [one, two, three] = [admit(under, 'a'), admit(under, 'b'), admit(under, 'c')];
  one.begin(Command.query, false);
  two.begin(Command.query, false);
  const turn = three.begin(Command.query, false);
  if (turn === undefined || !('done' in turn)) throw new Error('it does not wait');
  two.close();
  one.close();
  expect(await turn.done).toBeUndefined();
  expect(under.match(client('c'))).toMatchObject({ connections: 1, waiting: 0 });
});

test('a statement whose digest is refused is refused, with other values and spacing too', () => {
  const { digest } = statementDigest('SELECT * FROM big WHERE a = 1', mode);
  const { under, refused } = tenants(named('default', { refuseDigests: [digest.toUpperCase()] }));
  const { namespace } = admit(under, 'a');
  expect(namespace.refusesStatements).toBe(true);
  for (const text of ['select *  from big where a=2', 'select *  from big where a=2', "SELECT * FROM big WHERE a = 'x' -- now"])
    expect(namespace.refusal(text, mode)).toMatchObject({ code: 1148, sqlState: '42000' });
  expect(namespace.refusal('select * from small where a = 1', mode)).toBeUndefined();
  expect(refused).toHaveLength(3);
  for (const text of ['DO 1; select * from big where a = 2', '(select * from big where a = 2)', `${' '.repeat(70_000)}select * from big where a = 2`, undefined])
    expect([text?.trim(), namespace.refusal(text, mode)?.code]).toEqual([text?.trim(), 1148]);
  under.update([]);
  expect(namespace.refusesStatements).toBe(false);
});

test('sessions follow changes of their namespace, and keep it when it is gone', () => {
  const { under } = tenants(named('a', { users: ['a'] }));
  const lease = admit(under, 'a');
  under.update([named('a', { users: ['a'], limits: { ...noLimits, concurrentQueries: 1 } })]);
  expect(lease.namespace.limited).toBe(true);
  under.update([]);
  expect(under.match(client('a')).name).toBe('default');
  expect(lease.namespace).toMatchObject({ name: 'a', limited: true, connections: 1 });
  lease.close();
});

test('what other workers have counts for connections, and takes its share of rates', () => {
  const { under } = tenants(limited('default', { connections: 10, queriesPerSecond: 100, concurrentQueries: 8, queueMax: 0 }));
  const lease = admit(under, 'a');
  under.setOthers(sumUsage([{ default: { connections: 2 } }, { default: { connections: 1, users: { a: 1 } }, other: { connections: 5 } }]));
  let running = 0;
  for (const each of [lease, ...Array.from({ length: 6 }, () => admit(under, 'a'))]) if (each.begin(Command.query, false) === undefined) running++;
  // 7 here and 3 elsewhere: seven tenths of 8, rounded down.
  expect(running).toBe(5);
  expect(under.match(client('a')).admit('a')).toMatchObject({ code: 1040 });
  expect(under.usage()).toEqual({ default: { connections: 7 } });
});

test('the shares of all workers are the limit', () => {
  const view = limited('default', { concurrentQueries: 12, queueMax: 0 });
  const workers = [tenants(view).under, tenants(view).under, tenants(view).under];
  const leases = workers.map((worker, at) => Array.from({ length: [2, 4, 6][at]! * 3 }, () => admit(worker, 'a')));
  workers.forEach((worker, at) => worker.setOthers(sumUsage(workers.filter((_, each) => each !== at).map((other) => other.usage()))));
  const running = leases.flat().filter((lease) => lease.begin(Command.query, false) === undefined);
  expect(running).toHaveLength(12);
});
