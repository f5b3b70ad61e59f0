import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { validateSync, type ValidationError } from 'class-validator';
import { parse as parseToml, TomlError } from 'smol-toml';
import { readArguments } from './arguments.js';
import { NodeConfig } from './config.js';
import { ConfigError } from './config-error.js';
import { configKeys, readKey, readValue, shownValue, writeKey, type ConfigKey } from './config-schema.js';
import { didYouMean } from './nearest-name.js';
import { foreignKey } from './tiproxy-keys.js';
import { isTable, splitAddress } from './value-forms.js';

export interface ConfigSources {
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/** A configuration file longer than this is not one. */
const fileBytesMax = 1024 * 1024;

interface Given {
  readonly value: unknown;
  /** Where it was said, for messages: `/etc/binnacle.toml`, `BINNACLE_GATEWAY_PORT`, `--gateway.port`. */
  readonly source: string;
}

/**
 * The effective configuration: defaults < file < environment < flags, checked, with `port-offset` added to every port that is not 0
 * (a `node.port` of -1 stays: `nodePort` resolves it). Throws `ConfigError` with every problem found.
 */
export function loadConfig(sources: ConfigSources): NodeConfig {
  const problems: string[] = [];
  const warnings: string[] = [];
  const given = new Map<ConfigKey, Given>();
  const flags = readArguments(sources.argv).values;
  const environment = readEnvironment(sources.env, problems);
  const fileKey = configKeys.find((key) => key.name === 'config') as ConfigKey;
  const file = flags.get(fileKey) ?? (environment.get(fileKey)?.value as string | undefined) ?? '';
  if (file) for (const [key, entry] of readFile(file, problems, warnings)) given.set(key, entry);
  for (const [key, entry] of environment) given.set(key, entry);
  for (const [key, text] of flags) given.set(key, { value: fromText(key, text), source: `--${key.name}` });

  const config = new NodeConfig();
  for (const [key, entry] of given) writeKey(config, key, readValue(key, entry.value));
  problems.push(...invalidKeys(config, given));
  if (problems.length === 0) problems.push(...applyPortOffset(config), ...unsafeBinds(config));
  if (problems.length > 0) throw new ConfigError(problems);
  warningsOf.set(config, [...warnings, ...readableBinds(config)]);
  return config;
}

const warningsOf = new WeakMap<NodeConfig, readonly string[]>();

/** What the configuration says that has no effect here, one line a key: to be logged once. */
export function configWarnings(config: NodeConfig): readonly string[] {
  return warningsOf.get(config) ?? [];
}

/** The port of the node listener: the configured one, or the role's default moved by `port-offset`. */
export function nodePort(config: NodeConfig, defaultPort: number): number {
  if (config.node.port >= 0) return config.node.port;
  return defaultPort === 0 ? 0 : defaultPort + config.portOffset;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** A key that can be tried from elsewhere must be too long to guess. */
const reachableApiKeyLengthMin = 16;

/** What keeps this configuration from being started; each entry says what to set. */
export function unsafeBinds({ node, gateway }: NodeConfig): string[] {
  const problems: string[] = [];
  if (!isLoopback(node.host) && !node.clusterSecret) {
    problems.push(
      `node.host is ${node.host}, which other machines reach, but no cluster secret is set: set node.cluster-secret ` +
        '(BINNACLE_NODE_CLUSTER_SECRET, or BINNACLE_NODE_CLUSTER_SECRET_FILE) to the same text of at least 16 characters on every node, ' +
        'for example from `openssl rand -hex 32`; or bind node.host to 127.0.0.1',
    );
  }
  if (!isLoopback(gateway.host) && gateway.apiKey !== '' && gateway.apiKey.length < reachableApiKeyLengthMin) {
    problems.push(
      `gateway.host is ${gateway.host}, which other machines reach, and gateway.api-key is short enough to be guessed: set it ` +
        `(BINNACLE_GATEWAY_API_KEY, or BINNACLE_GATEWAY_API_KEY_FILE) to at least ${reachableApiKeyLengthMin} characters, for example ` +
        'from `openssl rand -hex 32`; or bind gateway.host to 127.0.0.1',
    );
  }
  return problems;
}

/** The servers behind it ask who a client is, so the SQL port may be reached by others; but they hear what is said there. */
function readableBinds({ proxy, security }: NodeConfig): string[] {
  const open = proxy.addr.filter((address) => !isLoopback(splitAddress(address)?.host ?? ''));
  if (open.length === 0 || security.serverTls.cert !== '') return [];
  return [`proxy.addr ${open.join(',')} is reached by other machines, and without security.server-tls.cert their clients cannot encrypt what they say`];
}

function readFile(file: string, problems: string[], warnings: string[]): Map<ConfigKey, Given> {
  const given = new Map<ConfigKey, Given>();
  const foreign = new Map<ConfigKey, Given>();
  const take = (table: Record<string, unknown>, section: string): void => {
    for (const [leaf, value] of Object.entries(table)) {
      const name = section ? `${section}.${leaf}` : leaf;
      const key = configKeys.find((each) => each.name === name && each.name !== 'config');
      const isSection = configKeys.some((each) => each.section === name || each.section.startsWith(`${name}.`));
      const other = key || isSection ? undefined : foreignKey(name, value);
      if (key) given.set(key, { value, source: file });
      else if (isSection && isTable(value)) take(value, name);
      else if (isSection) problems.push(`"${name}" in ${file} is a section: write [${name}]`);
      else if (other === 'section') take(value as Record<string, unknown>, name);
      else if (other) {
        if (other.warning) warnings.push(`${name} in ${file}: ${other.warning}`);
        for (const { key: means, value: meant } of other.means) foreign.set(means, { value: meant, source: `${file}, as ${name}` });
      } else problems.push(`unknown ${isTable(value) ? 'section' : 'key'} "${name}" in ${file}${didYouMean(name, fileNames)}`);
    }
  };
  const table = parseFile(file, problems);
  if (table) take(table, '');
  // A key of our own says it better than TiProxy's for the same thing.
  return new Map([...foreign, ...given]);
}

const fileNames = [...new Set(configKeys.flatMap((key) => (key.name === 'config' ? [] : [key.name, key.section].filter(Boolean))))];

function parseFile(file: string, problems: string[]): Record<string, unknown> | undefined {
  const text = readText(file, fileBytesMax, 'the configuration file', problems);
  if (text === undefined) return undefined;
  try {
    return parseToml(text);
  } catch (error) {
    // The library's message shows the offending line, which may hold a secret.
    const where = error instanceof TomlError ? ` at line ${error.line}, column ${error.column}` : '';
    const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : '';
    problems.push(`${file} is no valid TOML${where}: ${why.replace(/^Invalid TOML document: /, '')}`);
    return undefined;
  }
}

function readText(file: string, bytesMax: number, what: string, problems: string[]): string | undefined {
  try {
    const text = readFileSync(file, 'utf8');
    if (Buffer.byteLength(text) <= bytesMax) return text;
    problems.push(`${what} ${file} is longer than ${bytesMax} bytes`);
  } catch (error) {
    problems.push(`${what} ${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
  return undefined;
}

/**
 * Kubernetes and Docker put addresses of services into the environment, and a service may well be called `binnacle-gateway`:
 * BINNACLE_GATEWAY_SERVICE_HOST, BINNACLE_GATEWAY_PORT=tcp://10.0.0.7:8080, BINNACLE_GATEWAY_PORT_8080_TCP_ADDR.
 */
function isServiceLink(name: string, value: string): boolean {
  if (/_SERVICE_(HOST|PORT(_\w+)?)$/.test(name) || /_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$/.test(name)) return true;
  return name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value);
}

function readEnvironment(env: NodeJS.ProcessEnv, problems: string[]): Map<ConfigKey, Given> {
  const given = new Map<ConfigKey, Given>();
  const known = configKeys.flatMap((key) => (key.secret ? [key.env, `${key.env}_FILE`] : [key.env]));
  for (const [name, value] of Object.entries(env)) {
    // Empty counts as not set: that is what an unset variable becomes on its way through a compose file.
    if (!name.startsWith('BINNACLE_') || !value) continue;
    if (isServiceLink(name, value)) continue;
    const key = configKeys.find((each) => each.env === name);
    const secret = configKeys.find((each) => each.secret && `${each.env}_FILE` === name);
    if (key) given.set(key, { value: fromText(key, value), source: name });
    else if (!secret) problems.push(`unknown environment variable ${name}${didYouMean(name, known)}`);
    else if (env[secret.env]) problems.push(`${secret.env} and ${name} are both set: leave one out`);
    else {
      const text = readText(value, fileBytesMax, `the file named by ${name},`, problems);
      if (text !== undefined) given.set(secret, { value: text.trim(), source: `${name} (${value})` });
    }
  }
  return given;
}

/** Text from a flag or the environment as the key's kind of value; text that does not fit stays text, for the check to refuse. */
function fromText(key: ConfigKey, text: string): unknown {
  const trimmed = text.trim();
  // A form reads text itself.
  if (key.form !== undefined) return trimmed;
  if (Array.isArray(key.default)) return trimmed === '' ? [] : trimmed.split(',').map((part) => part.trim());
  if (typeof key.default === 'number') return /^-?\d{1,15}(\.\d{1,15})?$/.test(trimmed) ? Number(trimmed) : text;
  if (typeof key.default !== 'boolean') return text;
  if (trimmed === 'true' || trimmed === '1') return true;
  return trimmed === 'false' || trimmed === '0' ? false : text;
}

/** The keys whose values break their rules. */
export function brokenKeys(config: NodeConfig): ConfigKey[] {
  const invalid = new Set<string>();
  const collect = (errors: readonly ValidationError[], section: readonly string[]): void => {
    for (const error of errors) {
      if (error.constraints) invalid.add([...section, error.property].join('.'));
      collect(error.children ?? [], [...section, error.property]);
    }
  };
  collect(validateSync(config, { forbidUnknownValues: true }), []);
  return configKeys.filter((key) => invalid.has(key.property.join('.')));
}

function invalidKeys(config: NodeConfig, given: ReadonlyMap<ConfigKey, Given>): string[] {
  return brokenKeys(config).map((key) => {
    const shown = key.secret ? 'what is given is not (its value is not shown)' : `not ${JSON.stringify(given.get(key)?.value ?? shownValue(key, readKey(config, key)))}`;
    return `${key.name} (from ${given.get(key)?.source ?? 'its default'}) must be ${key.allowed}, ${shown}`;
  });
}

function applyPortOffset(config: NodeConfig): string[] {
  const problems: string[] = [];
  for (const key of configKeys.filter((each) => each.port)) {
    const port = readKey(config, key) as number;
    if (port <= 0) continue;
    const moved = port + config.portOffset;
    if (moved > 65_535) problems.push(`${key.name} ${port} with port-offset ${config.portOffset} is ${moved}: ports end at 65535`);
    writeKey(config, key, moved);
  }
  const moved = (port: number): number => (port === 0 ? 0 : port + config.portOffset);
  const { proxy } = config;
  proxy.addr = proxy.addr.map((text) => text.replace(/\d+$/, (port) => String(moved(Number(port)))));
  proxy.portRange = proxy.portRange.map(moved);
  const beyond = [...proxy.addr.map((text) => splitAddress(text)?.port ?? Infinity), ...proxy.portRange].some((port) => port > 65_535);
  if (beyond) problems.push(`proxy.addr or proxy.port-range with port-offset ${config.portOffset} is beyond the last port, 65535`);
  if (proxy.portRange.length > 0 && proxy.addr.length > 1) problems.push('proxy.port-range wants one address in proxy.addr, whose host it takes');
  return problems;
}
