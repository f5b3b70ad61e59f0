import { expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NodeConfig } from './config.js';
import { advertisedHost, openIdentity } from './identity.js';

function configured(): NodeConfig {
  const config = new NodeConfig();
  config.dataDir = join(mkdtempSync(join(tmpdir(), 'binnacle-identity-')), 'data');
  return config;
}

test('id and cluster secret are made up at the first start and kept; the secret is for this user alone', () => {
  const config = configured();
  const first = openIdentity(config, ['storage']);
  expect(first.id).toMatch(/^[A-Za-z0-9-]+-storage-[0-9a-f]{6}$/);
  expect(first.clusterSecret).toMatch(/^[0-9a-f]{64}$/);
  expect(openIdentity(config, ['storage'])).toEqual(first);
  expect(statSync(join(config.dataDir, 'cluster-secret')).mode & 0o777).toBe(0o600);
});

test('nodes of different roles that share a folder share the secret and not the id', () => {
  const config = configured();
  const [storage, health] = [openIdentity(config, ['storage']), openIdentity(config, ['health'])];
  expect(storage.clusterSecret).toBe(health.clusterSecret);
  expect(storage.id).not.toBe(health.id);
});

test('what is configured wins and is not written down', () => {
  const config = configured();
  config.node.id = 'a';
  config.node.clusterSecret = 'secret-of-the-cluster';
  expect(openIdentity(config, ['storage'])).toEqual({ id: 'a', clusterSecret: 'secret-of-the-cluster' });
  expect(readdirSync(config.dataDir)).toEqual([]);
});

test('a folder that cannot be used is named, and so is a damaged file', () => {
  const config = configured();
  writeFileSync(config.dataDir, 'a file');
  expect(() => openIdentity(config, ['storage'])).toThrow(`the data folder ${config.dataDir} is a file: set data-dir (BINNACLE_DATA_DIR) to a folder`);
  const damaged = configured();
  openIdentity(damaged, ['storage']);
  writeFileSync(join(damaged.dataDir, 'cluster-secret'), 'x y');
  expect(() => openIdentity(damaged, ['storage'])).toThrow(/cluster-secret is damaged/);
});

test('the folder is made with those above it, for this user alone', () => {
  const config = configured();
  const above = config.dataDir;
  config.dataDir = join(above, 'deep');
  openIdentity(config, ['storage']);
  expect([above, config.dataDir].map((folder) => statSync(folder).mode & 0o777)).toEqual([0o700, 0o700]);
});

test('a folder that the system refuses to make is said, at once, with its reason and key', () => {
  const config = configured();
  config.dataDir = '/proc/nope/deep';
  expect(() => openIdentity(config, ['storage'])).toThrow(/^the data folder \/proc\/nope\/deep cannot be used: E[A-Z]+, .+; set data-dir \(BINNACLE_DATA_DIR\)/);
});

test('a disk that refuses at the first start leaves nothing half written behind', async () => {
  const config = configured();
  // No file may grow beyond 0 bytes: as good as a full disk.
  const limited = `trap '' XFSZ; ulimit -f 0; exec "$0" --input-type=module -e "$1" "$2"`;
  const script = `
    const { openIdentity } = await import(${JSON.stringify(new URL('../dist/identity.js', import.meta.url).href)});
    try { openIdentity(JSON.parse(process.argv[1]), ['storage']); } catch (error) { console.log(error.message); }`;
  const child = spawn('bash', ['-c', limited, process.execPath, script, JSON.stringify(config)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  for await (const chunk of child.stdout) output += String(chunk);
  expect(output).toMatch(`the data folder ${config.dataDir} cannot be used: EFBIG, file too large; set data-dir`);
  expect(readdirSync(config.dataDir)).toEqual([]);
});

test('processes that start at once on an empty folder agree on the secret', async () => {
  const config = configured();
  const script = `
    const { openIdentity } = await import(${JSON.stringify(new URL('../dist/identity.js', import.meta.url).href)});
    process.stdout.write(openIdentity(JSON.parse(process.argv[1]), ['storage']).clusterSecret);`;
  const answers = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script, JSON.stringify(config)], { stdio: ['ignore', 'pipe', 'inherit'] });
      let output = '';
      for await (const chunk of child.stdout) output += String(chunk);
      return output;
    }),
  );
  expect(new Set(answers).size).toBe(1);
  expect(answers[0]).toBe(readFileSync(join(config.dataDir, 'cluster-secret'), 'utf8').trim());
  expect(readdirSync(config.dataDir).sort()).toEqual(['cluster-secret', 'node-id.storage']);
});

test('a listener on every address is announced by one that others can reach', () => {
  const config = configured();
  expect(advertisedHost(config, '10.1.2.3')).toBe('10.1.2.3');
  expect(advertisedHost(config, '0.0.0.0')).not.toBe('0.0.0.0');
  config.node.advertiseHost = 'storage-0.storage';
  expect(advertisedHost(config, '0.0.0.0')).toBe('storage-0.storage');
});
