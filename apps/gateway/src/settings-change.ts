import { BinnacleError } from '@binnacle/contracts/errors';
import { changedOverrides, isOverridable, overridableNames, overridableOnTheWire } from '@binnacle/node-kit/config-overrides';
import { kebabCase } from '@binnacle/node-kit/config-key';
import type { NodeConfig } from '@binnacle/node-kit/config';
import { didYouMean } from '@binnacle/node-kit/nearest-name';
import { Settings } from '@binnacle/node-kit/settings';
import { validateSync, type ValidationError } from 'class-validator';

/*
 * The dynamic configuration on the wire: names in kebab case, values as JSON or TOML has them.
 */

type Name = Exclude<keyof Settings, 'proxy'>;

/** `logSlowRequestsTimeMs` → `log-slow-requests-time-ms`. */
const wireNames = new Map<string, Name>(
  (Object.keys(new Settings()).filter((name) => name !== 'proxy') as Name[]).map((name) => [kebabCase(name), name]),
);

export function settingsOnTheWire(settings: Settings): Record<string, number | boolean> {
  return Object.fromEntries([...wireNames].map(([wireName, name]) => [wireName, settings[name]]));
}

/** The settings of today and TiProxy's sections as one document. */
export function configurationOnTheWire(config: NodeConfig, settings: Settings): Record<string, unknown> {
  return { ...settingsOnTheWire(settings), ...overridableOnTheWire(config, settings.proxy) };
}

/**
 * The settings with a change put into them that may name both: settings of today, and keys of TiProxy's sections. BAD_REQUEST as below.
 *
 * @param warned called with each key of TiProxy's that has no effect here
 */
export function changedConfiguration(config: NodeConfig, current: Settings, change: Readonly<Record<string, unknown>>, warned: (text: string) => void): Settings {
  const entries = Object.entries(change);
  const ofSections = entries.filter(([name, value]) => isOverridable(name, value));
  const next = changedSettings(current, Object.fromEntries(entries.filter(([name, value]) => !isOverridable(name, value))));
  return Object.assign(next, { proxy: changedOverrides(config, current.proxy, Object.fromEntries(ofSections), warned) });
}

/**
 * The settings with a change put into them. All of it counts or nothing: a key that is not known or a value that is not allowed throws
 * BAD_REQUEST, with Typesense's words where it has some.
 */
export function changedSettings(current: Settings, change: Readonly<Record<string, unknown>>): Settings {
  const next = Object.assign(new Settings(), current);
  for (const [wireName, value] of Object.entries(change)) {
    // TiFlash writes its own with underscores.
    const name = wireNames.get(wireName.replaceAll('_', '-'));
    if (name === undefined) {
      const shown = wireName.slice(0, 64);
      const nearest = didYouMean(shown, [...wireNames.keys(), ...overridableNames]);
      throw new BinnacleError('BAD_REQUEST', `Configuration \`${shown}\` is not known${nearest || '.'}`);
    }
    Object.assign(next, { [name]: value });
  }
  const [error] = validateSync(next);
  if (error !== undefined) throw new BinnacleError('BAD_REQUEST', complaint(error));
  return next;
}

function complaint(error: ValidationError): string {
  const wireName = [...wireNames].find(([, name]) => name === error.property)?.[0] ?? error.property;
  const broken = error.constraints ?? {};
  const must = (what: string): string => `Configuration \`${wireName}\` must be ${what}.`;
  if (broken['isInt']) return must('an integer');
  if (broken['isNumber']) return must('a number');
  if (broken['isBoolean']) return must('a boolean');
  const least = / (-1|0\.1)$/.exec(broken['min'] ?? '')?.[1];
  if (least !== undefined) return must(`${least} or more`);
  if (broken['min']) return must('a positive integer');
  const limit = /\d+$/.exec(broken['max'] ?? '')?.[0];
  return must(limit === undefined ? 'another value' : `at most ${limit}`);
}
