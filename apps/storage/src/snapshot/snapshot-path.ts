import { lstat, readdir } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import { isWithin, pathWithoutLinks } from '@binnacle/node-kit/path-without-links';
import { manifestName } from './manifest.js';

export interface SnapshotPlaces {
  /** Folders under which snapshots may be written. */
  readonly roots: readonly string[];
  /** The live data folder of the node. */
  readonly dataDir: string;
}

const pathCharactersMax = 4_000;
/** Of a folder's name, in bytes: file systems have 255, and what is half-made has a longer name. */
const nameBytesMax = 200;

/**
 * The folder that a client asks to have a snapshot in, as the kernel will understand it, or BAD_REQUEST: it has to be absolute and lie
 * under a root, whatever links are on the way, and nothing may be there yet but an empty folder.
 */
export async function resolveSnapshotPath(text: unknown, { roots, dataDir }: SnapshotPlaces): Promise<string> {
  if (text === undefined || text === '') throw refused('Parameter `snapshot_path` is required.');
  if (typeof text !== 'string') throw refused('Parameter `snapshot_path` must be given once.');
  checkText(text);
  const path = await followLinks(resolve(text));
  const root = await rootOf(path, roots);
  if (root === undefined) {
    const where = roots.map((each) => resolve(each)).join(', ');
    throw refused(`Parameter \`snapshot_path\` must lie in one of the folders that storage.snapshot-roots names: ${where}.`);
  }
  if (isWithin(await followLinks(resolve(dataDir, 'storage')), path)) throw refused('Parameter `snapshot_path` lies in the live data of the node.');
  for (let folder = dirname(path); folder !== root; folder = dirname(folder)) {
    if (await exists(join(folder, manifestName))) throw refused(`Parameter \`snapshot_path\` lies in another snapshot, ${folder}.`);
  }
  await checkFree(path);
  return path;
}

function checkText(text: string): void {
  if (!isAbsolute(text)) throw refused('Parameter `snapshot_path` must be absolute.');
  // `a/link/..` is not `a`; nobody needs it.
  const isStrange = text.includes('\0') || text.split('/').includes('..');
  if (isStrange) throw refused('Parameter `snapshot_path` must not contain `..` or NUL.');
  const isTooLong = text.length > pathCharactersMax || Buffer.byteLength(basename(text)) > nameBytesMax;
  if (isTooLong) throw refused(`Parameter \`snapshot_path\` is too long: at most ${nameBytesMax} bytes for the name of the folder.`);
}

async function followLinks(path: string): Promise<string> {
  return pathWithoutLinks(path).catch((error: unknown) => {
    throw unusable(error);
  });
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw unusable(error);
  }
}

function unusable(error: unknown): BinnacleError {
  const { code, syscall, path = '' } = error as NodeJS.ErrnoException;
  if (syscall === 'realpath') return refused(`${path} cannot be followed: ${code}.`);
  return refused(code === 'ENOTDIR' ? `${dirname(path)} is no folder.` : `${path} cannot be used: ${code}.`);
}

async function rootOf(path: string, roots: readonly string[]): Promise<string | undefined> {
  for (const root of roots) {
    const real = await followLinks(resolve(root));
    if (path !== real && isWithin(real, path)) return real;
  }
  return undefined;
}

async function checkFree(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isDirectory()) throw refused(`${path} exists and is no folder.`);
  if ((await readdir(path)).length > 0) throw refused(`${path} exists and is not empty: a snapshot never replaces what is there.`);
}

function refused(message: string): BinnacleError {
  return new BinnacleError('BAD_REQUEST', message);
}
