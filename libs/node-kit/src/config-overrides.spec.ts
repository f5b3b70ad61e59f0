import { BinnacleError } from '@binnacle/contracts/errors';
import { expect, test } from '@jest/globals';
import { parse, stringify } from 'smol-toml';
import { NodeConfig } from './config.js';
import { changedOverrides, overridableOnTheWire, withOverrides, type Overrides } from './config-overrides.js';

const config = new NodeConfig();
config.proxy.addr = ['127.0.0.1:6010'];
config.proxy.healthPassword = 'pa55word';
config.labels = { zone: 'east' };

function changed(toml: string, current: Overrides = {}): Overrides {
  return changedOverrides(config, current, parse(toml));
}

function refusal(toml: string): string {
  try {
    changed(toml);
  } catch (error) {
    expect((error as BinnacleError).code).toBe('BAD_REQUEST');
    return (error as BinnacleError).message;
  }
  throw new Error('the change was not refused');
}

test('a change counts over the file, in every section, and is merged with those before', () => {
  const first = changed('[proxy]\nmax-connections = 7\nfail-backend-list = ["a"]\n[proxy.frontend-keepalive]\nidle = "30s"');
  const both = changed('advance.query-interaction-metrics = true\nproxy.max-connections = 8', first);
  const now = withOverrides(config, both);
  expect(now.proxy).toMatchObject({ maxConnections: 8, failBackendList: ['a'], frontendKeepalive: { enabled: true, idleMs: 30_000 }, addr: ['127.0.0.1:6010'] });
  expect(now.advance.queryInteractionMetrics).toBe(true);
  expect(config.proxy.maxConnections).toBe(0);
});

test('a label is merged, and taken away by an empty text', () => {
  const first = changed('[labels]\nrack = "1"');
  expect(withOverrides(config, first).labels).toEqual({ zone: 'east', rack: '1' });
  expect(withOverrides(config, changed('labels.zone = ""', first)).labels).toEqual({ rack: '1' });
});

test('unknown keys are named with the nearest known one', () => {
  expect(refusal('[proxy]\nmax-conections = 1')).toBe('Configuration `proxy.max-conections` is not known; did you mean "proxy.max-connections"?');
  expect(refusal('[balance.cpu]\nmin-balance = 1')).toMatch(/`balance.cpu.min-balance` is not known; did you mean "balance.cpu.min-balance-usage"/);
  expect(refusal('[proxy.max-connections]\nx = 1')).toMatch(/must be a whole number/);
  expect(refusal('proxy = 1')).toBe('Configuration `proxy` is a section.');
});

test('values are checked', () => {
  expect(refusal('proxy.max-connections = -1')).toBe('Configuration `proxy.max-connections` must be a whole number from 0 to 10000000, not -1.');
  expect(refusal('proxy.max-connections = "5"')).toMatch(/not "5"/);
  expect(refusal('balance.policy = "best"')).toBe('Configuration `balance.policy` must be one of resource, location, connection, not "best".');
  expect(refusal('advance.query-interaction-metrics = 1')).toBe('Configuration `advance.query-interaction-metrics` must be true or false, not 1.');
  expect(refusal('labels.x = 5')).toMatch(/^Configuration `labels` must be a table of texts/);
});

test('what is read at the start only cannot be changed, but may be named as it is', () => {
  expect(refusal('proxy.addr = "0.0.0.0:6000"')).toBe('Configuration `proxy.addr` is read at the start: change it in the configuration file.');
  expect(refusal('proxy.health-password = "other"')).toMatch(/read at the start/);
  expect(changed('proxy.addr = "127.0.0.1:6010"')).toEqual({});
});

test('keys of TiProxy that mean nothing here are told of, and nothing is kept of them', () => {
  const warned: string[] = [];
  expect(changedOverrides(config, {}, parse('workdir = "x"\n[ha]\nvirtual-ip = "10.0.0.1/32"\n[proxy]\nmax-connections = 3'), (text) => warned.push(text))).toEqual({ 'proxy.max-connections': 3 });
  expect(warned.map((text) => text.split(':')[0])).toEqual(['workdir', 'ha.virtual-ip']);
});

test('what is shown has every key, masks secrets and can be put back as it is', () => {
  const overrides = changed('proxy.max-connections = 9\nproxy.backend-healthy-keepalive.idle = "90s"');
  const text = stringify(overridableOnTheWire(config, overrides));
  expect(text).not.toContain('pa55word');
  expect(parse(text)).toMatchObject({ proxy: { addr: '127.0.0.1:6010', 'max-connections': 9, 'health-password': '********', 'backend-healthy-keepalive': { idle: '90s' } }, labels: { zone: 'east' }, log: { level: 'info' } });
  const again = changed(text, overrides);
  expect(withOverrides(config, again)).toEqual(withOverrides(config, overrides));
});

test("a later version's keys and values that this one refuses are left out, and the others count", () => {
  const now = withOverrides(config, { 'proxy.max-connections': 4, 'proxy.of-tomorrow': 1, 'balance.policy': 'of-tomorrow', 'proxy.addr': '0.0.0.0:1', '__proto__.x': 1 });
  expect(now.proxy).toMatchObject({ maxConnections: 4, addr: ['127.0.0.1:6010'] });
  expect(now.balance.policy).toBe('resource');
});

test('names of object internals are unknown keys', () => {
  expect(() => changedOverrides(config, {}, JSON.parse('{"proxy": {"__proto__": {"x": 1}}}') as Record<string, unknown>)).toThrow(/`proxy.__proto__` is not known/);
});
