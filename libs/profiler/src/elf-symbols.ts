import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { SymbolTable, type UnsortedSymbols } from './symbol-table.js';

/** The parts of elf(5) that are read: 64 bit, little endian. */
const headerBytes = 64;
const programHeaderBytes = 56;
const sectionHeaderBytes = 64;
const symbolBytes = 24;
const loadSegment = 1;
const executableSegment = 1;
const executableSection = 4;
const tableSections = new Set([2, 11]); // .symtab, .dynsym
const noType = 0;
const functionTypes = new Set([2, 10]); // STT_FUNC, STT_GNU_IFUNC
const underscore = 95;
const bindingRanks = [2, 0, 1]; // local, global, weak

/** Browsers without stripped symbols have 1.5 million; more than this is taken for a broken file. */
const symbolsMax = 4_000_000;
const stringBytesMax = 256 * 1024 * 1024;

interface Section {
  readonly type: number;
  readonly flags: number;
  readonly address: number;
  readonly offset: number;
  readonly bytes: number;
  readonly link: number;
}

interface Segment {
  readonly fileOffset: number;
  readonly bytes: number;
  readonly address: number;
}

/** The functions of one program or shared library. */
export class ElfSymbols {
  readonly #segments: readonly Segment[];
  readonly #table: SymbolTable;

  private constructor(segments: readonly Segment[], table: SymbolTable) {
    this.#segments = segments;
    this.#table = table;
  }

  /** Throws where the file cannot be read or is no ELF file of this machine's kind. */
  static read(path: string): ElfSymbols {
    // Not blocking, because a path may name a pipe.
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(file);
      if (!stat.isFile()) throw new Error(`${path} is not a file`);
      return ElfSymbols.#parse((offset, bytes) => readExactly(file, offset, bytes, stat.size));
    } finally {
      closeSync(file);
    }
  }

  static #parse(read: (offset: number, bytes: number) => Buffer): ElfSymbols {
    const header = read(0, headerBytes);
    if (header.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1) throw new Error('not an ELF file of 64 bit, little endian');
    const programHeaders = read(word(header, 32), header.readUInt16LE(56) * programHeaderBytes);
    const sectionHeaders = read(word(header, 40), header.readUInt16LE(60) * sectionHeaderBytes);
    const sections = entries(sectionHeaders, sectionHeaderBytes, sectionAt);
    const symbols: UnsortedSymbols = { starts: [], ends: [], nameOffsets: [], ranks: [] };
    const strings: Buffer[] = [];
    let stringBytes = 0;
    for (const section of sections.filter(({ type }) => tableSections.has(type))) {
      const names = sections[section.link];
      if (names === undefined) throw new Error('a symbol table without names');
      if (section.bytes > symbolsMax * symbolBytes || names.bytes > stringBytesMax) throw new Error('the symbol table is too large');
      const text = read(names.offset, names.bytes);
      addFunctions(symbols, read(section.offset, section.bytes), sections, { base: stringBytes, text });
      strings.push(text);
      stringBytes += text.length;
    }
    const segments = entries(programHeaders, programHeaderBytes, segmentAt).filter((segment) => segment !== undefined);
    return new ElfSymbols(segments, new SymbolTable(symbols, Buffer.concat(strings), 0));
  }

  get size(): number {
    return this.#table.size;
  }

  /** The function whose code is at this offset of the file. Segments say where the file's parts lie, wherever it was loaded. */
  atFileOffset(offset: number): string | undefined {
    for (const { fileOffset, bytes, address } of this.#segments)
      if (offset >= fileOffset && offset < fileOffset + bytes) return this.#table.at(offset - fileOffset + address);
    return undefined;
  }
}

function addFunctions(symbols: UnsortedSymbols, table: Buffer, sections: readonly Section[], names: { base: number; text: Buffer }): void {
  for (let at = 0; at + symbolBytes <= table.length; at += symbolBytes) {
    const nameOffset = table.readUInt32LE(at);
    const info = table[at + 4] as number;
    const type = info & 15;
    const isFunction = functionTypes.has(type);
    const section = sections[table.readUInt16LE(at + 6)];
    const isCode = section !== undefined && (section.flags & executableSection) !== 0;
    if (nameOffset === 0 || nameOffset >= names.text.length || !isCode || !(isFunction || type === noType)) continue;
    const start = word(table, at + 8);
    const size = word(table, at + 16);
    symbols.starts.push(start);
    // Hand-written assembly has symbols without a size: such a one reaches to the next, or to the end of its section.
    symbols.ends.push(size > 0 ? start + size : section.address + section.bytes);
    symbols.nameOffsets.push(names.base + nameOffset);
    // A function before a mere label, one with a size before one without, a global name before a local one, `malloc` before `__libc_malloc`.
    const isInternal = names.text[nameOffset] === underscore;
    symbols.ranks.push((isFunction ? 0 : 16) + (size > 0 ? 0 : 8) + 2 * (bindingRanks[info >> 4] ?? 3) + (isInternal ? 1 : 0));
  }
}

function sectionAt(headers: Buffer, at: number): Section {
  return {
    type: headers.readUInt32LE(at + 4),
    flags: word(headers, at + 8),
    address: word(headers, at + 16),
    offset: word(headers, at + 24),
    bytes: word(headers, at + 32),
    link: headers.readUInt32LE(at + 40),
  };
}

function segmentAt(headers: Buffer, at: number): Segment | undefined {
  const isLoaded = headers.readUInt32LE(at) === loadSegment;
  if (!isLoaded || (headers.readUInt32LE(at + 4) & executableSegment) === 0) return undefined;
  return { fileOffset: word(headers, at + 8), address: word(headers, at + 16), bytes: word(headers, at + 32) };
}

function entries<T>(table: Buffer, bytes: number, read: (table: Buffer, at: number) => T): T[] {
  return Array.from({ length: Math.floor(table.length / bytes) }, (_, index) => read(table, index * bytes));
}

/** 64 bits as a number: exact for every address and size that can be. */
function word(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * 2 ** 32;
}

function readExactly(file: number, offset: number, bytes: number, fileBytes: number): Buffer {
  if (offset + bytes > fileBytes) throw new Error('the file is cut short');
  const buffer = Buffer.allocUnsafeSlow(bytes);
  let done = 0;
  while (done < bytes) {
    const read = readSync(file, buffer, done, bytes - done, offset + done);
    if (read === 0) throw new Error('the file is cut short');
    done += read;
  }
  return buffer;
}
