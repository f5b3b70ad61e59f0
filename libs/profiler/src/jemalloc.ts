import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { CapabilityMissing, OutOfDisk } from './capture-errors.js';

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

/** `int mallctl(const char *name, void *oldp, size_t *oldlenp, void *newp, size_t newlen)`; a string is passed by its address. */
type Mallctl = (name: string, oldValue: Buffer | null, oldLength: Buffer | null, newValue: Buffer | [string] | null, newLength: number) => number;

/** The functions of the library that are called. */
export interface JemallocLibrary {
  readonly mallctl: Mallctl;
  /** `errno` as the last call left it. */
  readonly errno: () => number;
  /** `malloc_stats_print`: hands its text over in pieces. */
  readonly printStatistics: (write: (text: string) => void, options: string) => void;
}

const sizeBytes = 8;
/** MALLCTL_ARENAS_ALL. */
const allArenas = 4096;
/** A few hundred arenas and their size classes; what 64 cores print is 3 MB. */
const statisticsCharactersMax = 32 * 1024 * 1024;

/** What a process has to be started with. With a larger step the profile of 100 MB is more than 10 % off now and then (bench/native-heap.bench.ts). */
export const profilingMallocConf = 'prof:true,prof_active:false,lg_prof_sample:16';

/** The jemalloc that this process was started with (LD_PRELOAD). */
export class Jemalloc {
  readonly #library: JemallocLibrary;
  readonly #value = Buffer.alloc(sizeBytes);
  readonly #length = Buffer.alloc(sizeBytes);

  constructor(library: JemallocLibrary) {
    this.#library = library;
  }

  /** Current figures. Throws when jemalloc refuses a name, as a build without statistics does. */
  statistics(): JemallocStatistics {
    this.#advanceEpoch();
    const [allocated = 0, active = 0, metadata = 0, resident = 0, mapped = 0, retained = 0] = counters.map((name) => this.#readSize(`stats.${name}`));
    return { allocated, active, metadata, resident, mapped, retained };
  }

  /** Everything that jemalloc tells of itself, as the JSON text it writes; takes 5 to 7 ms. */
  statisticsJson(): string {
    this.#advanceEpoch();
    const pieces: string[] = [];
    let characters = 0;
    this.#library.printStatistics((text) => {
      characters += text.length;
      if (characters <= statisticsCharactersMax) pieces.push(text);
    }, 'J');
    if (characters > statisticsCharactersMax) throw new Error(`jemalloc's statistics are larger than ${statisticsCharactersMax} characters`);
    return pieces.join('');
  }

  /** Whether it was built with heap profiling and started with it (`prof:true`). It cannot be had later. */
  canProfile(): boolean {
    try {
      return this.#readFlag('opt.prof');
    } catch {
      return false; // This build does not know the name.
    }
  }

  isProfActive(): boolean {
    return this.#readFlag('prof.active');
  }

  setProfActive(active: boolean): void {
    this.#check('prof.active', this.#library.mallctl('prof.active', null, null, Buffer.from([active ? 1 : 0]), 1));
  }

  /** Writes what is allocated now, by stack, in the text format heap_v2; blocks for about 2 ms. Throws `OutOfDisk`. */
  dump(path: string): void {
    const code = this.#library.mallctl('prof.dump', null, null, [path], sizeBytes);
    if (code === 0) return;
    const errno = this.#library.errno();
    if (errno === constants.errno.ENOSPC || errno === constants.errno.EDQUOT) throw new OutOfDisk(`no space left on the disk for ${path}`);
    throw new Error(`jemalloc could not dump its heap to ${path}: error ${code}, errno ${errno}`);
  }

  /** Gives the pages that nothing uses, of every arena, back to the system. */
  purge(): void {
    const name = `arena.${allArenas}.purge`;
    this.#check(name, this.#library.mallctl(name, null, null, null, 0));
  }

  /** jemalloc caches its figures until the epoch is advanced. */
  #advanceEpoch(): void {
    this.#value.writeBigUInt64LE(1n);
    this.#check('epoch', this.#library.mallctl('epoch', null, null, this.#value, sizeBytes));
  }

  #readSize(name: string): number {
    this.#read(name, sizeBytes);
    return Number(this.#value.readBigUInt64LE());
  }

  #readFlag(name: string): boolean {
    this.#read(name, 1);
    return this.#value[0] === 1;
  }

  #read(name: string, bytes: number): void {
    this.#length.writeBigUInt64LE(BigInt(bytes));
    this.#check(name, this.#library.mallctl(name, this.#value, this.#length, null, 0));
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

/** Throws `CapabilityMissing`, which says how to get it. */
export function requireJemalloc(jemalloc = openJemalloc(), platform: string = process.platform): Jemalloc {
  if (jemalloc) return jemalloc;
  if (platform !== 'linux') throw new CapabilityMissing(`this needs jemalloc in place of the system's allocator, which works on Linux only, and this is ${platform}`);
  throw new CapabilityMissing(
    'jemalloc is not preloaded. Install it with `apt-get install libjemalloc2` and start again: `npm start` and the image preload it. ' +
      `Any other process needs LD_PRELOAD=/usr/lib/<architecture>/libjemalloc.so.2 MALLOC_CONF=${profilingMallocConf}`,
  );
}

/** The same, and it has to be able to profile its heap. */
export function requireProfilingJemalloc(jemalloc = openJemalloc(), platform: string = process.platform): Jemalloc {
  const loaded = requireJemalloc(jemalloc, platform);
  if (loaded.canProfile()) return loaded;
  throw new CapabilityMissing(
    `jemalloc is preloaded without heap profiling, which cannot be turned on later. Start with MALLOC_CONF=${profilingMallocConf} ` +
      '(and a jemalloc that is built with --enable-prof, as libjemalloc2 of Debian and Ubuntu is)',
  );
}

/**
 * Takes the preload out of the environment that children inherit: they are other programs, which asked for no allocator of ours. A library
 * of somebody else's that is preloaded stays.
 */
export function keepJemallocFromChildren(env: NodeJS.ProcessEnv = process.env): void {
  // ld.so(8): separated by colons or spaces.
  const libraries = (env['LD_PRELOAD'] ?? '').split(/[:\s]+/);
  const others = libraries.filter((path) => path !== '' && !/libjemalloc[^/]*$/.test(path));
  if (others.length === libraries.length) return;
  delete env['MALLOC_CONF'];
  if (others.length > 0) env['LD_PRELOAD'] = others.join(':');
  else delete env['LD_PRELOAD'];
}

function findJemalloc(): Jemalloc | undefined {
  if (process.platform !== 'linux') return undefined;
  const path = jemallocPath(readFileSync('/proc/self/maps', 'utf8'));
  if (path === undefined) return undefined;
  // Loaded only where it is needed: the native binding costs 2 MB of memory and some start-up time.
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  // Opening a library that is loaded already yields the loaded one, the allocator in use.
  const library = koffi.load(path);
  const mallctl = library.func('int mallctl(const char *name, void *oldp, void *oldlenp, void *newp, size_t newlen)');
  const mallctlOfString = library.func('int mallctl(const char *name, void *oldp, void *oldlenp, const char **newp, size_t newlen)');
  const write = koffi.pointer(koffi.proto('void', ['void *', 'const char *']));
  const print = library.func('malloc_stats_print', 'void', [write, 'void *', 'const char *']);
  return new Jemalloc({
    mallctl: (name, oldValue, oldLength, newValue, newLength) =>
      (Array.isArray(newValue) ? mallctlOfString : mallctl)(name, oldValue, oldLength, newValue, newLength) as number,
    errno: () => koffi.errno(),
    printStatistics: (onText, options) => void print((_opaque: unknown, text: string) => onText(text), null, options),
  });
}
