import { IsInt, Max, Min } from 'class-validator';

/** How a key is written where its value in code is not what stands in the file: `60s` is 60000 ms. */
export interface ValueForm {
  /** From the file (any TOML value), the environment or a flag (text). What does not fit comes back as it is, for the rules to refuse. */
  read(value: unknown): unknown;
  /** As the file has it. */
  show(value: never): unknown;
}

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
  /** `PUT /api/admin/config` changes it while nodes run; others are read at the start only. */
  readonly dynamic: boolean;
  /** Its name in its section, where that is not the property in kebab case. */
  readonly named: string | undefined;
  readonly form: ValueForm | undefined;
}

const factsByClass = new Map<object, Map<string, KeyFacts>>();

function remember(prototype: object, key: string, facts: KeyFacts): void {
  const known = factsByClass.get(prototype) ?? new Map<string, KeyFacts>();
  known.set(key, facts);
  factsByClass.set(prototype, known);
}

/** Declares a configuration key. The text is kept at run time, so that help and documentation cannot drift from the code. */
export function Key(about: string, options: Partial<Omit<KeyFacts, 'about' | 'port'>> = {}) {
  const facts = { secret: false, allowed: undefined, dynamic: false, named: undefined, form: undefined, ...options, about, port: false };
  return (prototype: object, key: string): void => remember(prototype, key, facts);
}

/** Declares a key that is a TCP or UDP port. `min` is -1 where the key has a value that stands for a default. */
export function PortKey(about: string, min = 0) {
  return (prototype: object, key: string): void => {
    IsInt()(prototype, key);
    Min(min)(prototype, key);
    Max(65_535)(prototype, key);
    remember(prototype, key, { about, secret: false, allowed: undefined, port: true, dynamic: false, named: undefined, form: undefined });
  };
}

/** Of a configuration object's key, declared in its class or in one that class extends. */
export function keyFacts(owner: object, key: string): KeyFacts | undefined {
  for (let prototype = Object.getPrototypeOf(owner) as object | null; prototype !== null; prototype = Object.getPrototypeOf(prototype) as object | null) {
    const facts = factsByClass.get(prototype)?.get(key);
    if (facts !== undefined) return facts;
  }
  return undefined;
}

/** `portOffset` as files, flags and clients write it: `port-offset`. */
export function kebabCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
