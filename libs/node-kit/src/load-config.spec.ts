import { afterEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NodeConfig } from './config.js';
import { ConfigError } from './config-error.js';
import { configKeys, readKey } from './config-schema.js';
import { loadConfig, nodePort } from './load-config.js';

const folder = mkdtempSync(join(tmpdir(), 'binnacle-config-'));
afterEach(() => rmSync(join(folder, 'x.toml'), { force: true }));

function file(text: string, name = 'x.toml'): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function load(argv: string[] = [], env: NodeJS.ProcessEnv = {}): NodeConfig {
  return loadConfig({ argv, env });
}

function problems(argv: string[] = [], env: NodeJS.ProcessEnv = {}): readonly string[] {
  try {
    load(argv, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error('the configuration was accepted');
}

describe('sources', () => {
  test('without any, the defaults count', () => {
    expect(load()).toEqual(new NodeConfig());
  });

  test('every key can be set in the file, in the environment and by a flag', () => {
    const others: Readonly<Record<string, string>> = {
      'port-offset': '0',
      'storage.modes': 'write',
      'remote.url': 's3://bucket/prefix',
      'remote.s3-endpoint': 'http://127.0.0.1:9000',
      'log.level': 'debug',
      'log.format': 'json',
      'node.cluster-secret': 'a-secret-of-32-characters-or-so!',
      'proxy.addr': '127.0.0.1:6001',
      'proxy.port-range': '6001,6002',
      'proxy.backend-compression': 'zlib',
      'proxy.proxy-protocol': 'v2',
      'proxy.proxy-protocol-networks': '10.0.0.0/8',
      'proxy.pd-addrs': '127.0.0.1:2379',
      'proxy.backend-clusters': '[{"name": "a", "backends": ["10.0.0.1:3306"]}]',
      'proxy.backends': '127.0.0.1:3306',
      'proxy.backend-dns': 'db.example.com:3306',
      'proxy.kubernetes-endpoints': 'default/mysql:3306',
      'balance.conn-count.count-ratio-threshold': '1.5',
      'balance.policy': 'location',
      'balance.routing-policy': 'idlest',
      'proxy.traffic-roots': '/var/captures',
      'ingest.line-source': 'host-tag',
      'ingest.forward-url': 'http://127.0.0.1:8081',
      'ingest.percents': '50,-99.9',
      'ingest.filters': '[{"match-metrics": ["noisy.*"], "drop-metric": true}]',
      labels: 'zone=east',
    };
    const other = (key: (typeof configKeys)[number]): string => {
      if (others[key.name] !== undefined) return others[key.name] as string;
      if (/\.(idle|intvl)$/.test(key.name)) return '7s';
      if (key.name.endsWith('min-tls-version')) return '1.3';
      if (typeof key.default === 'boolean') return String(!key.default);
      if (typeof key.default !== 'number') return 'other';
      const most = Number(/\d+$/.exec(key.allowed));
      return most === 1 ? '0.75' : most < 2345 ? '7' : '2345';
    };
    for (const key of configKeys.filter((each) => each.name !== 'config' && each.name !== 'port-offset')) {
      const text = other(key);
      const isText = key.form !== undefined || typeof key.default === 'string';
      const expected = key.form ? key.form.read(text) : Array.isArray(key.default) ? [text] : isText ? text : JSON.parse(text);
      const quoted = isText ? `'${text}'` : Array.isArray(key.default) ? `["${text}"]` : text;
      const toml = key.section ? `[${key.section}]\n${key.leaf} = ${quoted}` : `${key.leaf} = ${quoted}`;
      // A host that is no loopback wants a secret beside it.
      const env = key.name === 'node.host' ? { BINNACLE_NODE_CLUSTER_SECRET: 'a-secret-of-32-characters-or-so!' } : {};
      expect([key.name, readKey(load(['--config', file(toml)], env), key)]).toEqual([key.name, expected]);
      expect([key.name, readKey(load([], { ...env, [key.env]: text }), key)]).toEqual([key.name, expected]);
      expect([key.name, readKey(load([`--${key.name}`, text], env), key)]).toEqual([key.name, expected]);
      expect([key.name, readKey(load([`--${key.name}=${text}`], env), key)]).toEqual([key.name, expected]);
    }
  });

  test('a flag wins over the environment, the environment over the file', () => {
    const path = file('data-dir = "file"\n[gateway]\nport = 1001\ntiflash-port = 1002\ntiproxy-port = 1003');
    const config = load(['--config', path, '--gateway.port=3001'], {
      BINNACLE_GATEWAY_PORT: '2001',
      BINNACLE_GATEWAY_TIFLASH_PORT: '2002',
    });
    expect([config.gateway.port, config.gateway.tiflashPort, config.gateway.tiproxyPort, config.dataDir]).toEqual([3001, 2002, 1003, 'file']);
  });

  test('the file may be named by BINNACLE_CONFIG, and --config wins over it', () => {
    const one = file('data-dir = "one"', 'one.toml');
    const two = file('data-dir = "two"', 'two.toml');
    expect(load([], { BINNACLE_CONFIG: one }).dataDir).toBe('one');
    expect(load(['--config', two], { BINNACLE_CONFIG: one }).dataDir).toBe('two');
  });

  test('lists are separated by commas outside the file, and may be emptied', () => {
    expect(load([], { BINNACLE_GATEWAY_CERT_ALLOWED_CN: 'tidb, prometheus' }).gateway.certAllowedCn).toEqual(['tidb', 'prometheus']);
    expect(load(['--gateway.cert-allowed-cn='], { BINNACLE_GATEWAY_CERT_ALLOWED_CN: 'tidb' }).gateway.certAllowedCn).toEqual([]);
  });

  test('an empty variable counts as not set', () => {
    const path = file('data-dir = "kept"');
    expect(load(['--config', path], { BINNACLE_DATA_DIR: '', BINNACLE_PORT_OFFSET: '' }).dataDir).toBe('kept');
  });

  test('a boolean flag alone means true, and does not swallow what follows', () => {
    const config = load(['--redis.cluster', '--log.level', 'warn']);
    expect([config.redis.cluster, config.log.level]).toEqual([true, 'warn']);
    expect(load(['--redis.cluster', 'false'], { BINNACLE_REDIS_CLUSTER: 'true' }).redis.cluster).toBe(false);
  });

  test('a secret may come from a file, without its line end', () => {
    const path = file('k3y-of-the-gateway\n', 'secret');
    expect(load([], { BINNACLE_GATEWAY_API_KEY_FILE: path }).gateway.apiKey).toBe('k3y-of-the-gateway');
    expect(problems([], { BINNACLE_GATEWAY_API_KEY_FILE: path, BINNACLE_GATEWAY_API_KEY: 'x' })).toEqual([
      'BINNACLE_GATEWAY_API_KEY and BINNACLE_GATEWAY_API_KEY_FILE are both set: leave one out',
    ]);
    expect(problems([], { BINNACLE_GATEWAY_API_KEY_FILE: '/nowhere/key' })[0]).toContain('/nowhere/key cannot be read: ENOENT');
  });

  test('addresses that Kubernetes and Docker put into the environment are not taken for keys', () => {
    const config = load([], {
      BINNACLE_GATEWAY_PORT: 'tcp://10.0.0.7:8080',
      BINNACLE_GATEWAY_SERVICE_HOST: '10.0.0.7',
      BINNACLE_GATEWAY_SERVICE_PORT_TIFLASH: '20292',
      BINNACLE_GATEWAY_PORT_8080_TCP_ADDR: '10.0.0.7',
    });
    expect(config).toEqual(new NodeConfig());
  });
});

describe('mistakes', () => {
  test('an unknown key in the file is named together with the nearest known one', () => {
    const path = file('[gateway]\nprot = 1\n[gatway]\nport = 2');
    expect(problems(['--config', path])).toEqual([
      `unknown key "gateway.prot" in ${path}; did you mean "gateway.port"?`,
      `unknown section "gatway" in ${path}; did you mean "gateway"?`,
    ]);
    const camel = file('[gateway]\napiKey = "x"');
    expect(problems(['--config', camel])[0]).toContain('did you mean "gateway.api-key"?');
  });

  test('an unknown environment variable or flag likewise; one that resembles nothing gets no guess', () => {
    expect(problems([], { BINNACLE_GATEWAY_API_KY: 'x' })).toEqual([
      'unknown environment variable BINNACLE_GATEWAY_API_KY; did you mean "BINNACLE_GATEWAY_API_KEY"?',
    ]);
    expect(problems(['--gateway.prt', '80'])).toEqual(['unknown flag "--gateway.prt"; did you mean "--gateway.port"?']);
    expect(problems(['--zzzzzzzzzzzz'])).toEqual(['unknown flag "--zzzzzzzzzzzz"']);
    expect(problems(['serve'])[0]).toContain('unexpected argument "serve"');
  });

  test('a value that does not fit is told with its key, its source and what is allowed, all of them at once', () => {
    const path = file('[log]\nlevel = "loud"\n[node]\nport = "80"');
    expect(problems(['--config', path, '--gateway.port', '8o80'], { BINNACLE_HEALTH_CHECK_CACHE_MS: '-1' })).toEqual([
      `node.port (from ${path}) must be a whole number from -1 to 65535, not "80"`,
      `log.level (from ${path}) must be one of trace, debug, info, warn, error, fatal, silent, not "loud"`,
      'gateway.port (from --gateway.port) must be a whole number from 0 to 65535, not "8o80"',
      'health.check-cache-ms (from BINNACLE_HEALTH_CHECK_CACHE_MS) must be a whole number from 0 to 60000, not -1',
    ]);
  });

  test('a secret that does not fit is not shown', () => {
    const [problem] = problems(['--node.cluster-secret', 'short']);
    expect(problem).toContain('node.cluster-secret');
    expect(problem).not.toContain('short');
  });

  test.each(['two words', 'line\nbreak', 'schlüssel', 'k'.repeat(257)])('%j is no bootstrap key: no header could carry it, or no person would', (key) => {
    const [problem] = problems([], { BINNACLE_GATEWAY_API_KEY: key });
    expect(problem).toBe(
      'gateway.api-key (from BINNACLE_GATEWAY_API_KEY) must be up to 256 visible ASCII characters without spaces, at least 16 when ' +
        '`gateway.host` is not loopback; or nothing, what is given is not (its value is not shown)',
    );
  });

  test('a flag without its value says what is allowed', () => {
    expect(problems(['--gateway.port'])).toEqual(['--gateway.port needs a value: a whole number from 0 to 65535']);
  });

  test('a file that is missing or no TOML is named, without the text of the bad line', () => {
    expect(problems(['--config', '/nowhere.toml'])).toEqual(['the configuration file /nowhere.toml cannot be read: ENOENT']);
    const path = file('[gateway]\napi-key = "s3cret');
    expect(problems(['--config', path])[0]).toContain(`${path} is no valid TOML at line 2`);
    expect(problems(['--config', path])[0]).not.toContain('s3cret');
  });

  test('the file cannot name another file, nor put a value where a section belongs', () => {
    expect(problems(['--config', file('config = "x"')])[0]).toContain('unknown key "config"');
    expect(problems(['--config', file('gateway = 3')])[0]).toContain('is a section: write [gateway]');
  });

  test('names of object internals are unknown keys like any other', () => {
    expect(problems(['--config', file('__proto__ = 1\n[gateway]\nconstructor = 1')])).toHaveLength(2);
  });
});

describe('ports', () => {
  test('the offset moves every port but those that are 0', () => {
    const config = load(['--port-offset', '10', '--gateway.tiproxy-port', '0'], { BINNACLE_NODE_PORT: '7500' });
    expect(config.gateway).toMatchObject({ port: 8090, tiflashPort: 20_302, tiproxyPort: 0, gostatsdPort: 8091, typesensePort: 8118 });
    expect(nodePort(config, 7400)).toBe(7510);
    expect(nodePort(load(['--port-offset', '10']), 7400)).toBe(7410);
    expect(nodePort(load(['--port-offset', '10', '--node.port', '0']), 7400)).toBe(0);
  });

  test('an offset that carries a port beyond the last one is refused', () => {
    expect(problems(['--port-offset', '50000'])).toEqual(['gateway.tiflash-port 20292 with port-offset 50000 is 70292: ports end at 65535']);
  });
});

describe('binding', () => {
  test('an address that other machines reach wants a cluster secret, and the message says what to set', () => {
    expect(problems(['--node.host', '0.0.0.0'])[0]).toMatch(/node\.host is 0\.0\.0\.0.*BINNACLE_NODE_CLUSTER_SECRET/);
    expect(load(['--node.host', '0.0.0.0'], { BINNACLE_NODE_CLUSTER_SECRET: 'x'.repeat(16) }).node.host).toBe('0.0.0.0');
  });

  test('a bootstrap key that other machines can try must not be short; on loopback it may be', () => {
    const [problem] = problems(['--gateway.host', '0.0.0.0', '--gateway.api-key', 'fifteen-letters']);
    expect(problem).toMatch(/gateway\.host is 0\.0\.0\.0.*gateway\.api-key.*BINNACLE_GATEWAY_API_KEY.*at least 16 characters/);
    expect(problem).not.toContain('fifteen');
    expect(load(['--gateway.host', '0.0.0.0', '--gateway.api-key', 'sixteen-letters!']).gateway.apiKey).toBe('sixteen-letters!');
    expect(load(['--gateway.api-key', 'k']).gateway.apiKey).toBe('k');
  });

  test.each(['127.0.0.1', '127.1.2.3', '::1', 'localhost'])('%s needs none', (host) => {
    expect(load(['--node.host', host]).node.host).toBe(host);
  });
});
