import { BinnacleError } from '@binnacle/contracts/errors';
import { didYouMean } from '@binnacle/node-kit/nearest-name';
import { Settings } from '@binnacle/node-kit/settings';
import { validateSync, type ValidationError } from 'class-validator';

/*
 * The dynamic configuration on the wire: names in kebab case, values as JSON or TOML has them.
 */

type Name = keyof Settings;

/** `logSlowRequestsTimeMs` → `log-slow-requests-time-ms`. */
const wireNames = new Map<string, Name>(
  (Object.keys(new Settings()) as Name[]).map((name) => [name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`), name]),
);

export function settingsOnTheWire(settings: Settings): Record<string, number | boolean> {
  return Object.fromEntries([...wireNames].map(([wireName, name]) => [wireName, settings[name]]));
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
      const nearest = didYouMean(shown, [...wireNames.keys()]);
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
