import { IsInt, Max, Min } from 'class-validator';

/** What the configuration classes say of a key beside its rules. */
export interface KeyFacts {
  /** One or two sentences for `--help` and docs/configuration.md. */
  readonly about: string;
  /** Masked wherever the configuration is shown; may also come from a file named by `BINNACLE_..._FILE`. */
  readonly secret: boolean;
  /** What is allowed, in words, where the rules alone (a pattern) would not tell a person. */
  readonly allowed: string | undefined;
  /** `port-offset` is added to it unless it is 0. */
  readonly port: boolean;
}

const factsByClass = new Map<object, Map<string, KeyFacts>>();

function remember(prototype: object, key: string, facts: KeyFacts): void {
  const known = factsByClass.get(prototype) ?? new Map<string, KeyFacts>();
  known.set(key, facts);
  factsByClass.set(prototype, known);
}

/** Declares a configuration key. The text is kept at run time, so that help and documentation cannot drift from the code. */
export function Key(about: string, options: { secret?: boolean; allowed?: string } = {}) {
  const facts = { about, secret: options.secret ?? false, allowed: options.allowed, port: false };
  return (prototype: object, key: string): void => remember(prototype, key, facts);
}

/** Declares a key that is a TCP or UDP port. `min` is -1 where the key has a value that stands for a default. */
export function PortKey(about: string, min = 0) {
  return (prototype: object, key: string): void => {
    IsInt()(prototype, key);
    Min(min)(prototype, key);
    Max(65_535)(prototype, key);
    remember(prototype, key, { about, secret: false, allowed: undefined, port: true });
  };
}

export function keyFacts(prototype: object, key: string): KeyFacts | undefined {
  return factsByClass.get(prototype)?.get(key);
}
