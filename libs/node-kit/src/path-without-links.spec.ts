import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isWithin, pathWithoutLinks } from './path-without-links.js';

let top: string;

beforeEach(() => {
  top = realpathSync(mkdtempSync(join(tmpdir(), 'binnacle-path-')));
  mkdirSync(join(top, 'folder'));
  writeFileSync(join(top, 'file'), '');
  symlinkSync(join(top, 'folder'), join(top, 'link'));
  symlinkSync(join(top, 'nowhere'), join(top, 'dangling'));
});
afterEach(() => rmSync(top, { recursive: true, force: true }));

test('links are followed up to the deepest folder that exists, and the rest stays as it is', async () => {
  expect(await pathWithoutLinks(join(top, 'link'))).toBe(join(top, 'folder'));
  expect(await pathWithoutLinks(join(top, 'link/a/b'))).toBe(join(top, 'folder/a/b'));
  expect(await pathWithoutLinks(join(top, 'new'))).toBe(join(top, 'new'));
});

test('it rejects with what the file system says of a link to nowhere, and of a file on the way', async () => {
  await expect(pathWithoutLinks(join(top, 'dangling/a'))).rejects.toMatchObject({ code: 'ENOENT', syscall: 'realpath', path: join(top, 'dangling') });
  await expect(pathWithoutLinks(join(top, 'file/a'))).rejects.toMatchObject({ code: 'ENOTDIR', syscall: 'lstat', path: join(top, 'file/a') });
});

test('within a folder are itself and what is below it, whatever the names begin with', () => {
  expect(['/a', '/a/b', '/a/..b'].map((path) => isWithin('/a', path))).toEqual([true, true, true]);
  expect(['/', '/ab', '/b', '/b/a'].map((path) => isWithin('/a', path))).toEqual([false, false, false, false]);
});
