import { stringify as tomlText } from 'smol-toml';
import type { NodeConfig } from './config.js';
import { configKeys, readKey, shownValue, type ConfigKey } from './config-schema.js';
import { nodePort } from './load-config.js';

/** What is shown of a secret. */
export const mask = '********';

/**
 * The effective configuration as TOML that gives the same node again, but for the masked secrets: `port-offset` is printed as 0
 * because the ports have it already.
 */
export function printedConfig(config: NodeConfig, defaultPort: number): string {
  const line = (key: ConfigKey): string => {
    if (key.name === 'port-offset') return config.portOffset ? `port-offset = 0 # ${config.portOffset} is in the ports below already` : 'port-offset = 0';
    if (key.name === 'node.port') return `port = ${nodePort(config, defaultPort)}`;
    return `${key.leaf} = ${tomlValue(maskedValue(config, key))}`;
  };
  const keys = configKeys.filter((key) => key.name !== 'config');
  return sections()
    .map((section) => [...(section ? [`[${section}]`] : []), ...keys.filter((key) => key.section === section).map(line)].join('\n'))
    .join('\n\n');
}

/** `--help`: every key with its default, its environment variable and what it is for. */
export function helpText(command: string): string {
  const lines = [
    `Usage: ${command} [--config FILE] [--SECTION.KEY VALUE ...]`,
    '',
    'Sources, later ones win: defaults, the TOML file, environment variables, flags.',
    'A secret may also be read from a file: BINNACLE_..._FILE=/run/secrets/x.',
    '',
    '  --help          this text',
    '  --version       the version',
    '  --print-config  the effective configuration as TOML, secrets masked',
  ];
  for (const section of sections()) {
    lines.push('', section ? `[${section}]` : 'Outside sections');
    for (const key of configKeys.filter((each) => each.section === section)) {
      const preset = key.name === 'config' ? '' : `, default ${tomlValue(shownValue(key, key.default))}`;
      lines.push(`  --${key.name}  (${key.env}; ${key.allowed}${preset})`, `      ${key.about}`);
    }
  }
  return lines.join('\n');
}

/** The table of docs/configuration.md: a test keeps the page equal to it. */
export function keyTable(): string {
  const rows = configKeys.map((key) => {
    const preset = key.name === 'config' ? '' : `\`${tomlValue(shownValue(key, key.default))}\``;
    const allowed = key.allowed.replaceAll('|', '\\|');
    return `| \`${key.name}\`${key.secret ? ' (secret)' : ''} | \`${key.env}\` | ${preset} | ${allowed} | ${key.about} |`;
  });
  return ['| key and flag | environment | default | allowed | what it does |', '|---|---|---|---|---|', ...rows].join('\n');
}

function sections(): string[] {
  return [...new Set(configKeys.map((key) => key.section))];
}

/** On one line, whatever it is: tables and lists of tables too. */
function tomlValue(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? '[]' : `[ ${value.map(tomlValue).join(', ')} ]`;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([name, content]) => `${/^[\w-]+$/.test(name) ? name : JSON.stringify(name)} = ${tomlValue(content)}`);
    return entries.length === 0 ? '{}' : `{ ${entries.join(', ')} }`;
  }
  return tomlText({ value }).trim().replace(/^value = /, '');
}

/** As a file has it, but for secrets. */
export function maskedValue(config: NodeConfig, key: ConfigKey): unknown {
  const value = readKey(config, key);
  if (!key.secret || value === '') return shownValue(key, value);
  return key.name === 'redis.url' ? maskedUrl(String(value)) : mask;
}

/** An address without its password: the rest of it helps the reader. */
export function maskedUrl(text: string): string {
  if (!URL.canParse(text)) return mask;
  const url = new URL(text);
  if (url.password) url.password = mask;
  return url.toString();
}

/** Every secret text of a configuration, to be kept out of logs and of the command line that `/expvar` shows. */
export function secretTexts(config: NodeConfig): string[] {
  const texts = [config.node.clusterSecret, config.gateway.apiKey, config.proxy.healthPassword];
  if (URL.canParse(config.redis.url)) {
    const { password } = new URL(config.redis.url);
    texts.push(password, decodeURIComponent(password));
  }
  return [...new Set(texts.filter((text) => text !== ''))];
}
