import { getMetadataStorage } from 'class-validator';
import { NodeConfig } from './config.js';
import { kebabCase, keyFacts, type KeyFacts } from './config-key.js';

/** In code; `shownValue` is what a file has. */
export type ConfigValue = string | number | boolean | readonly unknown[] | Readonly<Record<string, unknown>>;

/** One key of the configuration under all its names. */
export interface ConfigKey extends Omit<KeyFacts, 'allowed'> {
  /** As in flags and messages: `gateway.api-key`, `data-dir`. */
  readonly name: string;
  /** Section in the file, `proxy.frontend-keepalive`; empty for keys outside sections. */
  readonly section: string;
  /** Name in its section: `api-key`. */
  readonly leaf: string;
  /** Where it is in a `NodeConfig`: `['gateway', 'apiKey']`. */
  readonly property: readonly string[];
  /** `BINNACLE_GATEWAY_API_KEY` */
  readonly env: string;
  readonly default: ConfigValue;
  /** What is allowed, in words: `a whole number from 0 to 65535`. */
  readonly allowed: string;
}

/** A value of the configuration as a file has it. */
export function shownValue(key: ConfigKey, value: ConfigValue): unknown {
  return key.form === undefined ? value : key.form.show(value as never);
}

/** A value of a file, a flag or the environment as it is in code. */
export function readValue(key: ConfigKey, value: unknown): unknown {
  return key.form === undefined ? value : key.form.read(value);
}

interface Rule {
  readonly name: string | undefined;
  readonly constraints: readonly unknown[];
}

function rulesOf(owner: object, property: string): Rule[] {
  return getMetadataStorage()
    .getTargetValidationMetadatas(owner.constructor, '', false, false)
    .filter((metadata) => metadata.propertyName === property)
    .map((metadata) => ({ name: metadata.name, constraints: metadata.constraints ?? [] }));
}

function hasPattern(owner: object, property: string): boolean {
  return rulesOf(owner, property).some((rule) => rule.name === 'matches' || rule.name === 'satisfies');
}

/** The decorators of a property as words, so that a message and the documentation say the same as the check does. */
function allowedText(owner: object, property: string): string {
  const rules = rulesOf(owner, property);
  const constraint = (name: string): unknown => rules.find((rule) => rule.name === name)?.constraints[0];
  const has = (name: string): boolean => rules.some((rule) => rule.name === name);
  const choices = constraint('isIn') as readonly string[] | undefined;
  if (has('isArray')) return choices ? `a list of ${choices.join(' or ')}` : 'a list of texts';
  if (choices) return `one of ${choices.map((choice) => (choice === '' ? 'nothing' : choice)).join(', ')}`;
  if (has('isBoolean')) return 'true or false';
  const range = `from ${String(constraint('min'))} to ${String(constraint('max'))}`;
  if (has('isNumber')) return `a number ${range}`;
  if (has('isInt')) return `a whole number ${range}`;
  return 'text';
}

function keysOf(owner: object, section: readonly string[]): ConfigKey[] {
  return Object.entries(owner).flatMap(([property, value]): ConfigKey[] => {
    const facts = keyFacts(owner, property);
    const path = [...section, property];
    if (!facts && typeof value === 'object' && !Array.isArray(value)) return keysOf(value as object, path);
    if (!facts) throw new Error(`configuration property ${property} has no @Key`);
    const leaf = facts.named ?? kebabCase(property);
    const inSection = section.map(kebabCase).join('.');
    const name = inSection ? `${inSection}.${leaf}` : leaf;
    const env = `BINNACLE_${name.toUpperCase().replace(/[.-]/g, '_')}`;
    if (facts.allowed === undefined && hasPattern(owner, property)) throw new Error(`${name} has a pattern and no words for it`);
    return [{ ...facts, name, section: inSection, leaf, property: path, env, default: value as ConfigValue, allowed: facts.allowed ?? allowedText(owner, property) }];
  });
}

/** Every key of a node's configuration, those outside sections first. */
export const configKeys: readonly ConfigKey[] = keysOf(new NodeConfig(), []).sort(
  (a, b) => Number(a.section !== '') - Number(b.section !== ''),
);

export function readKey(config: NodeConfig, key: ConfigKey): ConfigValue {
  let value: unknown = config;
  for (const step of key.property) value = (value as Record<string, unknown>)[step];
  return value as ConfigValue;
}

export function writeKey(config: NodeConfig, key: ConfigKey, value: unknown): void {
  let owner = config as unknown as Record<string, unknown>;
  for (const step of key.property.slice(0, -1)) owner = owner[step] as Record<string, unknown>;
  owner[key.property.at(-1) as string] = value;
}
