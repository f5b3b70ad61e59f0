import { afterAll, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { needs } from '../test/under-jemalloc.js';
import { ElfSymbols } from './elf-symbols.js';

const folder = mkdtempSync(join(tmpdir(), 'binnacle-elf-'));
afterAll(() => rmSync(folder, { recursive: true }));

const library = [...readFileSync('/proc/self/maps', 'utf8').matchAll(/ (\/\S*libc\.so\.6)$/gm)][0]?.[1] ?? '';

function written(name: string, bytes: Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

/** From an address as nm(1) prints it to its place in the file, by what readelf(1) says of the parts that are code. */
function fileOffsets(path: string): (address: number) => number | undefined {
  needs(existsSync('/usr/bin/readelf'), 'binutils');
  const headers = execFileSync('readelf', ['-lW', path], { encoding: 'utf8' });
  const segments = [...headers.matchAll(/LOAD +(\S+) (\S+) \S+ (\S+) \S+ R E/g)].map(([, ...fields]) => fields.map(Number));
  return (at) => {
    for (const [offset = 0, address = 0, bytes = 0] of segments) if (at >= address && at < address + bytes) return at - address + offset;
    return undefined;
  };
}

test.each([process.execPath, library])('every function of %s has the name that nm gives it', (path) => {
  needs(existsSync('/usr/bin/nm'), 'binutils');
  const offsetOf = fileOffsets(path);
  const names = new Map<number, Set<string>>();
  for (const flags of [[], ['-D']]) {
    const output = execFileSync('nm', ['--defined-only', ...flags, path], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024, stdio: ['ignore', 'pipe', 'ignore'] });
    for (const [, address = '', name = ''] of output.matchAll(/^([0-9a-f]{16}) [TtWwi] ([^@\n]+)/gm)) {
      const offset = offsetOf(Number.parseInt(address, 16));
      if (offset !== undefined) names.set(offset, (names.get(offset) ?? new Set()).add(name));
    }
  }
  const symbols = ElfSymbols.read(path);
  const wrong = [...names].filter(([offset, known]) => !known.has(symbols.atFileOffset(offset) ?? ''));
  expect(names.size).toBeGreaterThan(2_000);
  expect(wrong.map(([offset, known]) => [offset.toString(16), [...known][0], symbols.atFileOffset(offset)])).toEqual([]);
});

test('an address inside a function has its name, one outside of all code has none', () => {
  const symbols = ElfSymbols.read(process.execPath);
  const output = execFileSync('nm', ['-S', '--defined-only', process.execPath], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  const [, start = '', size = ''] = /^([0-9a-f]{16}) ([0-9a-f]{16}) T uv_run$/m.exec(output) ?? [];
  const at = fileOffsets(process.execPath)(Number.parseInt(start, 16)) ?? 0;
  expect(symbols.atFileOffset(at + Number.parseInt(size, 16) - 1)).toBe('uv_run');
  expect(symbols.atFileOffset(at + Number.parseInt(size, 16))).not.toBe('uv_run');
  expect(symbols.atFileOffset(0)).toBeUndefined();
  expect(symbols.atFileOffset(2 ** 50)).toBeUndefined();
});

test('what is no ELF file of this kind is an error', () => {
  expect(() => ElfSymbols.read(written('empty', Buffer.alloc(0)))).toThrow('cut short');
  expect(() => ElfSymbols.read(written('text', Buffer.from('#!/bin/sh\n'.repeat(20))))).toThrow('not an ELF file');
  expect(() => ElfSymbols.read('/dev/null')).toThrow('not a file');
  const narrow = readFileSync(library).subarray(0, 4096);
  narrow[4] = 1;
  expect(() => ElfSymbols.read(written('narrow', narrow))).toThrow('64 bit');
});

test('a file that is cut short is an error wherever it ends', () => {
  const whole = readFileSync(library);
  for (let bytes = 1; bytes < whole.length; bytes = Math.ceil(bytes * 1.9)) {
    const path = written('short', whole.subarray(0, bytes));
    expect(() => ElfSymbols.read(path)).toThrow('cut short');
  }
});

test('a file with broken headers is an error or has wrong names, and nothing worse', () => {
  const whole = readFileSync(library);
  const sections = Number(whole.readBigUInt64LE(40));
  const places = [...Array(64).keys(), ...Array.from({ length: 60 }, (_, index) => sections + index * 37)].filter((at) => at < whole.length);
  for (const at of places) {
    const broken = Buffer.from(whole);
    broken[at] = (broken[at] ?? 0) ^ 0xff;
    const path = written('broken', broken);
    try {
      ElfSymbols.read(path).atFileOffset(200_000);
    } catch (error) {
      expect(error).toBeInstanceOf(Error);
    }
  }
});
