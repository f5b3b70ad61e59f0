import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** Bytes, as jemalloc's manual defines `stats.*`. */
export interface JemallocStatistics {
  readonly allocated: number;
  readonly active: number;
  readonly metadata: number;
  readonly resident: number;
  readonly mapped: number;
  readonly retained: number;
}

const counters = ['allocated', 'active', 'metadata', 'resident', 'mapped', 'retained'] as const;

/** `int mallctl(const char *name, void *oldp, size_t *oldlenp, void *newp, size_t newlen)` */
type Mallctl = (name: string, oldValue: Buffer | null, oldLength: Buffer | null, newValue: Buffer | null, newLength: number) => number;

const sizeBytes = 8;

/** The jemalloc that this process was started with (LD_PRELOAD). */
export class Jemalloc {
  readonly #mallctl: Mallctl;
  readonly #epoch = Buffer.alloc(sizeBytes);
  readonly #value = Buffer.alloc(sizeBytes);
  readonly #length = Buffer.alloc(sizeBytes);

  constructor(mallctl: Mallctl) {
    this.#mallctl = mallctl;
  }

  /** Current figures. Throws when jemalloc refuses a name, as a build without statistics does. */
  statistics(): JemallocStatistics {
    // jemalloc caches its figures until the epoch is advanced.
    this.#epoch.writeBigUInt64LE(1n);
    this.#check('epoch', this.#mallctl('epoch', null, null, this.#epoch, sizeBytes));
    const [allocated = 0, active = 0, metadata = 0, resident = 0, mapped = 0, retained = 0] = counters.map((name) => this.#read(`stats.${name}`));
    return { allocated, active, metadata, resident, mapped, retained };
  }

  #read(name: string): number {
    this.#length.writeBigUInt64LE(BigInt(sizeBytes));
    this.#check(name, this.#mallctl(name, this.#value, this.#length, null, 0));
    return Number(this.#value.readBigUInt64LE());
  }

  #check(name: string, code: number): void {
    if (code !== 0) throw new Error(`jemalloc refuses ${name}: error ${code}`);
  }
}

/** The path of the jemalloc library in a /proc/self/maps text, or undefined. */
export function jemallocPath(maps: string): string | undefined {
  return /\s(\/\S*libjemalloc\S*\.so\S*)/.exec(maps)?.[1];
}

let opened: Jemalloc | undefined | null = null;

/**
 * Undefined when no jemalloc is loaded into this process (no LD_PRELOAD, or no Linux). The answer is looked up once:
 * a preload cannot come later.
 */
export function openJemalloc(): Jemalloc | undefined {
  if (opened === null) opened = findJemalloc();
  return opened;
}

function findJemalloc(): Jemalloc | undefined {
  if (process.platform !== 'linux') return undefined;
  const library = jemallocPath(readFileSync('/proc/self/maps', 'utf8'));
  if (library === undefined) return undefined;
  // Loaded only where it is needed: the native binding costs 2 MB of memory and some start-up time.
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  // Opening a library that is loaded already yields the loaded one, the allocator in use.
  const mallctl = koffi.load(library).func('int mallctl(const char *name, void *oldp, void *oldlenp, void *newp, size_t newlen)');
  return new Jemalloc(mallctl as unknown as Mallctl);
}
