import { ConfigError } from './config-error.js';
import { configKeys, type ConfigKey } from './config-schema.js';
import { didYouMean } from './nearest-name.js';

/** What stands on the command line. */
export interface Arguments {
  readonly help: boolean;
  readonly version: boolean;
  readonly printConfig: boolean;
  /** Raw text by key, the last one given. */
  readonly values: ReadonlyMap<ConfigKey, string>;
}

const switches = ['help', 'version', 'print-config'] as const;

/** `--gateway.api-key X`, `--gateway.api-key=X`; a boolean key alone means true. Throws `ConfigError` on anything else. */
export function readArguments(argv: readonly string[]): Arguments {
  const seen = new Set<string>();
  const values = new Map<ConfigKey, string>();
  const problems: string[] = [];
  for (let index = 0; index < argv.length; index += 1) {
    const argument = argv[index] as string;
    const [flag, inline] = splitFlag(argument);
    if (flag === undefined) {
      problems.push(`unexpected argument "${argument}"; every flag begins with --, see --help`);
      continue;
    }
    if ((switches as readonly string[]).includes(flag)) {
      seen.add(flag);
      continue;
    }
    const key = configKeys.find((each) => each.name === flag);
    if (!key) {
      const known = [...configKeys.map((each) => each.name), ...switches];
      problems.push(`unknown flag "--${flag}"${didYouMean(flag, known).replace('"', '"--')}`);
      // What follows an unknown flag is most likely its value: one problem, not two.
      if (inline === undefined && argv[index + 1]?.startsWith('--') === false) index += 1;
      continue;
    }
    const following = argv[index + 1];
    const takesFollowing = typeof key.default === 'boolean' ? following === 'true' || following === 'false' : true;
    if (inline !== undefined) values.set(key, inline);
    else if (!takesFollowing) values.set(key, 'true');
    else if (following === undefined || following.startsWith('--')) problems.push(`--${flag} needs a value: ${key.allowed}`);
    else {
      values.set(key, following);
      index += 1;
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return { help: seen.has('help'), version: seen.has('version'), printConfig: seen.has('print-config'), values };
}

function splitFlag(argument: string): [flag: string | undefined, inline: string | undefined] {
  if (argument === '-h') return ['help', undefined];
  if (!argument.startsWith('--') || argument === '--') return [undefined, undefined];
  const equals = argument.indexOf('=');
  return equals < 0 ? [argument.slice(2), undefined] : [argument.slice(2, equals), argument.slice(equals + 1)];
}
