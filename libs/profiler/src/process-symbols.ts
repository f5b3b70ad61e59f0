import { closeSync, constants, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import { ElfSymbols } from './elf-symbols.js';
import { SymbolTable, type UnsortedSymbols } from './symbol-table.js';

/** What an address without a name is called. */
export const unresolved = '??';

/** V8 writes 100 bytes a function; beyond this the oldest functions are known and the newest are not. */
const perfMapBytesMax = 64 * 1024 * 1024;

interface Mapping {
  readonly start: number;
  readonly end: number;
  readonly fileOffset: number;
  readonly path: string;
}

interface Loaded {
  /** Another file under the same path has another one. */
  readonly version: string;
  readonly symbols: ElfSymbols | undefined;
}

/**
 * The symbols of this process: of every mapped ELF file and, where V8 writes one, of its list of compiled functions. Files are read when the
 * first address in them is asked for, and kept; so loading is slow (80 ms for a node binary) and belongs in a thread of its own.
 */
export class ProcessSymbols {
  readonly #perfMapPath: string | undefined;
  readonly #objects = new Map<string, Loaded>();
  #compiled: { readonly bytes: number; readonly table: SymbolTable } | undefined;

  constructor(perfMapPath: string | undefined) {
    this.#perfMapPath = perfMapPath;
  }

  /** One name for each address. What is not known for whatever reason is `??`. */
  resolve(addresses: Iterable<bigint>): string[] {
    const mappings = mappedFiles(readFileSync('/proc/self/maps', 'utf8'));
    const checked = new Map<string, ElfSymbols | undefined>();
    const compiled = this.#readCompiled();
    return Array.from(addresses, (address) => {
      const at = Number(address);
      const mapping = mappingOf(mappings, at);
      if (mapping === undefined) return compiled?.at(at) ?? unresolved;
      if (!checked.has(mapping.path)) checked.set(mapping.path, this.#object(mapping.path));
      return checked.get(mapping.path)?.atFileOffset(at - mapping.start + mapping.fileOffset) ?? unresolved;
    });
  }

  #object(path: string): ElfSymbols | undefined {
    try {
      const { ino, size, mtimeMs } = statSync(path);
      const version = `${ino} ${size} ${mtimeMs}`;
      const known = this.#objects.get(path);
      if (known?.version === version) return known.symbols;
      this.#objects.set(path, { version, symbols: undefined });
      const symbols = ElfSymbols.read(path);
      this.#objects.set(path, { version, symbols });
      return symbols;
    } catch {
      // Deleted, replaced, broken or not to be read by this user: its addresses have no names, the others have.
      return undefined;
    }
  }

  #readCompiled(): SymbolTable | undefined {
    if (this.#perfMapPath === undefined) return undefined;
    try {
      // Anybody can put a file into /tmp: only one of our own is believed.
      const file = openSync(this.#perfMapPath, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      try {
        const { size, uid } = fstatSync(file);
        if (uid !== process.getuid?.() || size > perfMapBytesMax) return this.#compiled?.table;
        if (this.#compiled?.bytes !== size) this.#compiled = { bytes: size, table: parsePerfMap(readFileSync(file)) };
      } finally {
        closeSync(file);
      }
    } catch {
      // It is written when the first function is compiled.
    }
    return this.#compiled?.table;
  }
}

/** The file mappings of a /proc/PID/maps text, by address. A deleted file's path ends with ` (deleted)` and does not exist. */
export function mappedFiles(maps: string): Mapping[] {
  return [...maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ \d+ +(\/.*)$/gm)].map(([, start = '', end = '', offset = '', path = '']) => ({
    start: Number.parseInt(start, 16),
    end: Number.parseInt(end, 16),
    fileOffset: Number.parseInt(offset, 16),
    path,
  }));
}

function mappingOf(mappings: readonly Mapping[], address: number): Mapping | undefined {
  let low = 0;
  let high = mappings.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((mappings[middle] as Mapping).end > address) high = middle;
    else low = middle + 1;
  }
  const found = mappings[low];
  return found !== undefined && found.start <= address ? found : undefined;
}

/** Lines of `start size name`, hexadecimal. Code is moved and replaced: of two at one address the later is there now. */
export function parsePerfMap(text: Buffer): SymbolTable {
  const symbols: UnsortedSymbols = { starts: [], ends: [], nameOffsets: [], ranks: [] };
  for (let from = 0, to = text.indexOf(10); to >= 0; from = to + 1, to = text.indexOf(10, from)) {
    // Two numbers of at most 16 digits.
    const head = /^([0-9a-f]+) ([0-9a-f]+) /.exec(text.toString('latin1', from, Math.min(to, from + 36)));
    if (head === null) continue;
    const start = Number.parseInt(head[1] as string, 16);
    symbols.starts.push(start);
    symbols.ends.push(start + Number.parseInt(head[2] as string, 16));
    symbols.nameOffsets.push(from + head[0].length);
    symbols.ranks.push(0);
  }
  return new SymbolTable(symbols, text, 10);
}
