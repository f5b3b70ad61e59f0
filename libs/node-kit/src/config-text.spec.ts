import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { parse } from 'smol-toml';
import { configKeys } from './config-schema.js';
import { helpText, keyTable, maskedUrl, printedConfig, secretTexts } from './config-text.js';
import { loadConfig } from './load-config.js';

const env = {
  BINNACLE_GATEWAY_API_KEY: 'k3y-of-the-gateway',
  BINNACLE_NODE_CLUSTER_SECRET: 'secret-of-the-cluster',
  BINNACLE_REDIS_URL: 'redis://user:p%40ssword@redis:6379/2',
  BINNACLE_PORT_OFFSET: '10',
};

test('the printed configuration masks secrets, but of a Redis address only the password', () => {
  const text = printedConfig(loadConfig({ argv: [], env }), 7400);
  for (const secret of ['k3y-of-the-gateway', 'secret-of-the-cluster', 'p%40ssword', 'p@ssword']) expect(text).not.toContain(secret);
  expect(text).toContain('url = "redis://user:********@redis:6379/2"');
  expect(parse(text)).toMatchObject({ gateway: { 'api-key': '********', port: 8090 }, node: { port: 7410, 'cluster-secret': '********' } });
});

test('secrets that are not set are shown as not set', () => {
  expect(parse(printedConfig(loadConfig({ argv: [], env: {} }), 7400))).toMatchObject({ gateway: { 'api-key': '' }, redis: { url: '' } });
});

test('the printed configuration holds every key and is a file that gives the same ports again', () => {
  const config = loadConfig({ argv: [], env: { BINNACLE_PORT_OFFSET: '10' } });
  const printed = parse(printedConfig(config, 7400)) as Record<string, Record<string, unknown>>;
  expect(printed['port-offset']).toBe(0);
  expect(printed.gateway?.['tiflash-port']).toBe(config.gateway.tiflashPort);
  for (const key of configKeys.filter((each) => each.name !== 'config')) {
    const table = key.section.split('.').reduce<Record<string, unknown> | undefined>((outer, name) => (name ? (outer?.[name] as typeof outer) : outer), printed);
    expect(Object.keys(table ?? {})).toContain(key.leaf);
  }
});

test('an address that cannot be parsed is masked whole', () => {
  expect(maskedUrl('redis://user:secret@host:notaport')).toBe('********');
});

test('the help names every key, its variable and its default', () => {
  const text = helpText('binnacle start');
  for (const key of configKeys) {
    expect(text).toContain(`--${key.name}  (${key.env};`);
    expect(text).toContain(key.about);
  }
  expect(text).toContain('default 8080');
});

test('a password is known in its written and its decoded form', () => {
  expect(secretTexts(loadConfig({ argv: [], env })).sort()).toEqual(['k3y-of-the-gateway', 'p%40ssword', 'p@ssword', 'secret-of-the-cluster']);
});

test('docs/configuration.md has the key table of the code', () => {
  const page = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');
  const table = page.split('<!-- keys -->')[1]?.trim();
  // To renew it: paste what this prints.
  expect(table).toBe(keyTable());
});
