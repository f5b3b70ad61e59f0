import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeConfig } from './config.js';
import { configKeys, readKey, readValue, writeKey, type ConfigKey } from './config-schema.js';
import { mask, maskedValue } from './config-text.js';
import { brokenKeys } from './load-config.js';
import { didYouMean } from './nearest-name.js';
import { foreignKey } from './tiproxy-keys.js';
import { isTable, textTable } from './value-forms.js';

/*
 * The part of a node's configuration that can be changed while it runs: TiProxy's sections. Cluster state keeps the keys that were changed, by
 * full name (`proxy.max-connections`) and as a file has them; they count over the file of every node.
 */

export type Overrides = Readonly<Record<string, unknown>>;

const sections = ['log', 'proxy', 'balance', 'security', 'advance', 'labels'] as const;
export type ProxySections = Pick<NodeConfig, (typeof sections)[number]>;

const keys = configKeys.filter((key) => (sections as readonly string[]).includes(key.property[0] as string));
const keyByName = new Map(keys.map((key) => [key.name, key]));
/** Everything a change may name, sections included. */
export const overridableNames: readonly string[] = [...new Set(keys.flatMap((key) => [key.name, key.section]))].filter((name) => name !== '');

/** Whether a name at the top of a change belongs here: `proxy`, `labels`, and what only TiProxy has. */
export function isOverridable(name: string, value: unknown): boolean {
  return (sections as readonly string[]).includes(name) || foreignKey(name, value) !== undefined;
}

/** The sections with the changes in them, as plain data. Of a later version's changes those that are not known, or break the rules of this one, are left out. */
export function withOverrides(config: NodeConfig, overrides: Overrides): ProxySections {
  const candidate = copyOf(config);
  for (const [name, value] of Object.entries(overrides)) {
    const key = keyByName.get(name);
    if (key?.dynamic) writeKey(candidate, key, readValue(key, value));
  }
  for (const key of brokenKeys(candidate)) writeKey(candidate, key, readKey(config, key));
  const { log, proxy, balance, security, advance, labels } = candidate;
  return structuredClone({ log, proxy, balance, security, advance, labels });
}

function copyOf(config: NodeConfig): NodeConfig {
  const copy = new NodeConfig();
  for (const key of keys) writeKey(copy, key, readKey(config, key));
  return copy;
}

/**
 * The changes with a further one merged into them. All of it counts or nothing: BAD_REQUEST names the first key that is not known, with the
 * nearest one that is, that is read at the start only and would change, or whose value breaks its rules.
 *
 * @param change a TOML or JSON document with TiProxy's sections
 * @param warned called with each key of TiProxy's that has no effect here
 */
export function changedOverrides(config: NodeConfig, current: Overrides, change: Readonly<Record<string, unknown>>, warned: (text: string) => void = () => {}): Overrides {
  const effective = copyOf(config);
  Object.assign(effective, withOverrides(config, current));
  const next: Record<string, unknown> = { ...current };
  const candidate = copyOf(effective);
  const take = (table: Readonly<Record<string, unknown>>, section: string): void => {
    for (const [leaf, value] of Object.entries(table)) {
      const name = section ? `${section}.${leaf}` : leaf;
      const key = keyByName.get(name);
      const isSection = overridableNames.some((each) => each.startsWith(`${name}.`));
      const foreign = key || isSection ? undefined : foreignKey(name, value);
      if (key) changeKey(key, value);
      else if (isSection && isTable(value)) take(value, name);
      else if (isSection) throw new BinnacleError('BAD_REQUEST', `Configuration \`${shown(name)}\` is a section.`);
      else if (foreign === 'section') take(value as Record<string, unknown>, name);
      else if (foreign) warned(`${name}: ${foreign.warning ?? 'this key is read at the start only'}`);
      else throw unknownKey(name);
    }
  };
  const changeKey = (key: ConfigKey, value: unknown): void => {
    const before = readKey(effective, key);
    const read = key.name === 'labels' ? mergedLabels(before, value) : readValue(key, value);
    if (!key.dynamic) {
      if (JSON.stringify(read) === JSON.stringify(before) || (key.secret && value === mask)) return;
      throw new BinnacleError('BAD_REQUEST', `Configuration \`${key.name}\` is read at the start: change it in the configuration file.`);
    }
    writeKey(candidate, key, read);
    next[key.name] = key.name === 'labels' ? read : value;
  };
  take(change, '');
  const [broken] = brokenKeys(candidate);
  if (broken !== undefined) throw new BinnacleError('BAD_REQUEST', `Configuration \`${broken.name}\` must be ${broken.allowed}, not ${shown(JSON.stringify(next[broken.name]))}.`);
  return next;
}

/** A label is merged like a key; an empty text takes it away. */
function mergedLabels(before: unknown, value: unknown): unknown {
  const given = textTable.read(value);
  if (!isTable(given)) return value;
  return Object.fromEntries(Object.entries({ ...(before as Record<string, unknown>), ...given }).filter(([, text]) => text !== ''));
}

const shown = (text: string): string => text.slice(0, 128);

function unknownKey(name: string): BinnacleError {
  const nearest = didYouMean(shown(name), overridableNames);
  return new BinnacleError('BAD_REQUEST', `Configuration \`${shown(name)}\` is not known${nearest || '.'}`);
}

/** Everything that `changedOverrides` knows, as a file has it, secrets masked: a table that can be put back as it is. */
export function overridableOnTheWire(config: NodeConfig, overrides: Overrides): Record<string, unknown> {
  const effective = copyOf(config);
  Object.assign(effective, withOverrides(config, overrides));
  const top: Record<string, unknown> = {};
  for (const key of keys) {
    const path = key.section === '' ? [] : key.section.split('.');
    let table = top;
    for (const step of path) table = (table[step] ??= {}) as Record<string, unknown>;
    table[key.leaf] = maskedValue(effective, key);
  }
  return top;
}
