import { expect, test } from '@jest/globals';
import { followersIn, groupsOf, type Grouped } from './groups.js';
import type { ServerFacts } from './server-facts.js';

function server(name: string, facts: Partial<ServerFacts> | undefined, more: Partial<Grouped> = {}): Grouped {
  return { id: `${name}:3306`, cluster: 'default', kind: 'mariadb', healthy: true, ...(facts !== undefined && { facts: { readOnly: false, refused: [], ...facts } }), ...more };
}
const of = (name: string, more: Partial<NonNullable<ServerFacts['source']>> = {}): Partial<ServerFacts> => ({ readOnly: true, source: { host: name, port: 3306, ...more } });
const groups = (servers: readonly Grouped[], before?: ReadonlyMap<string, string>): string[] => [...groupsOf(servers, before).values()];

test('servers of one Galera cluster, one replication group, one TiDB cluster have the same data', () => {
  expect(groups([server('a', { galera: 'u1' }), server('b', { galera: 'u1' }), server('c', { galera: 'u2' })])).toEqual(['galera:u1', 'galera:u1', 'galera:u2']);
  expect(groups([server('a', { groupReplication: 'g' }), server('b', { groupReplication: 'g' })])).toEqual(['gr:g', 'gr:g']);
  expect(groups([server('a', undefined, { kind: 'tidb' }), server('b', undefined, { kind: 'tidb', cluster: 'east' })])).toEqual(['tidb:default', 'tidb:east']);
});

test('a server nobody could ask is alone', () => {
  expect(groups([server('a', undefined), server('b', {}), server('c', undefined)])).toEqual(['a:3306', 'b:3306', 'c:3306']);
});

test('a tree of replicas has the name of its root, also one that is no backend', () => {
  expect(groups([server('a', {}), server('b', of('a')), server('c', of('b'))])).toEqual(['replication:a:3306', 'replication:a:3306', 'replication:a:3306']);
  expect(groups([server('b', of('x')), server('c', of('x'))])).toEqual(['replication:x:3306', 'replication:x:3306']);
});

test('two that replicate from each other are one group, and a replica of Galera has that data', () => {
  expect(groups([server('b', of('a')), server('a', of('b'))])).toEqual(['replication:a:3306', 'replication:a:3306']);
  expect(groups([server('a', { galera: 'u' }), server('b', of('a'))])).toEqual(['galera:u', 'galera:u']);
});

test('a source is recognised by its UUID or number where the replica calls it by another address', () => {
  expect(groups([server('a', { serverUuid: 'u-a' }), server('b', of('10.0.0.1', { uuid: 'u-a' }))])[1]).toBe('replication:a:3306');
  expect(groups([server('a', { serverId: '7' }), server('b', of('10.0.0.1', { serverId: '7' }))])[1]).toBe('replication:a:3306');
  // A number that two have says nothing.
  const twice = [server('a', { serverId: '7' }), server('c', { serverId: '7' }), server('b', of('10.0.0.1', { serverId: '7' }))];
  expect(groups(twice)).toEqual(['a:3306', 'c:3306', 'replication:10.0.0.1:3306']);
});

test('a failover is followed: the dead or read-only source stays with the promoted replica', () => {
  const before = groupsOf([server('a', {}), server('b', of('a')), server('c', of('a'))]);
  const dead = server('a', {}, { healthy: false });
  const during = groupsOf([dead, server('b', {}), server('c', of('b'))], before);
  expect([...during.values()]).toEqual(['replication:b:3306', 'replication:b:3306', 'replication:b:3306']);
  // It comes back without following anybody: as a server that takes writes it is another one now.
  expect(groups([server('a', {}), server('b', {}), server('c', of('b'))], during)[0]).toBe('a:3306');
  expect(groups([server('a', { readOnly: true }), server('b', {}), server('c', of('b'))], during)[0]).toBe('replication:b:3306');
});

test('two that were one tree and both take writes have parted', () => {
  const before = groupsOf([server('a', {}), server('b', of('a'))]);
  expect(groups([server('a', {}), server('b', {})], before)).toEqual(['a:3306', 'b:3306']);
});

test('fellows that went different ways give no group', () => {
  const before = groupsOf([server('a', {}), server('b', of('a')), server('c', of('a'))]);
  expect(groups([server('a', {}, { healthy: false }), server('b', {}), server('c', {})], before)).toEqual(['a:3306', 'b:3306', 'c:3306']);
});

test('who follows another one takes no writes, with read_only or without; who is in a ring does', () => {
  const followers = (...servers: Grouped[]): string[] => [...followersIn(servers)];
  const open = { readOnly: false };
  expect(followers(server('a', {}), server('b', { ...of('a'), ...open }), server('c', { ...of('b'), ...open }))).toEqual(['b:3306', 'c:3306']);
  expect(followers(server('a', { ...of('b'), ...open }), server('b', { ...of('a'), ...open }), server('c', { ...of('a'), ...open }))).toEqual(['c:3306']);
  // Alone it may be all that a site has of an outsider; two would not have each other's writes.
  expect(followers(server('b', { ...of('x'), ...open }))).toEqual([]);
  expect(followers(server('b', { ...of('x'), ...open }), server('c', { ...of('x'), ...open }))).toEqual(['b:3306', 'c:3306']);
  expect(followers(server('a', {}, { healthy: false }), server('b', { ...of('a'), ...open }))).toEqual(['b:3306']);
  expect(followers(server('a', { ...of('x'), galera: 'u', ...open }), server('b', {}))).toEqual([]);
});
