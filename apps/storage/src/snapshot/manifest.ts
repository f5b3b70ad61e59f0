import { createHash } from 'node:crypto';
import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export const manifestName = 'manifest.json';
/** What a snapshot is called until it is complete and on disk. */
export const halfMadeName = /\.partial-[0-9a-f]{8}$/;
/** 1: the first one. A reader refuses what is newer than it knows. */
const formatKnown = 1;
/** About 400,000 files. */
const manifestBytesMax = 64 * 2 ** 20;

export interface SnapshotFile {
  /** Below the snapshot, with `/`. */
  readonly path: string;
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** What a snapshot is made of; written last, so that a folder without one is no snapshot. */
export interface Manifest {
  readonly format: number;
  /** ISO 8601. */
  readonly createdAt: string;
  /** Id of the node it is of. */
  readonly node: string;
  readonly roles: readonly string[];
  /** Newest version of a row in it. */
  readonly version: number;
  /** Of Binnacle. */
  readonly madeBy: string;
  /** All but the manifest, by path. */
  readonly files: readonly SnapshotFile[];
}

export type ManifestFacts = Omit<Manifest, 'format'>;

/** The text of `manifest.json`: the manifest and the checksum of its own compact JSON text. */
export function manifestText(facts: ManifestFacts): string {
  const manifest: Manifest = { format: formatKnown, ...facts };
  return `${JSON.stringify({ sha256: digest(JSON.stringify(manifest)), manifest }, undefined, 1)}\n`;
}

/** Rejects with an Error that says in one line what is wrong with the folder. */
export async function readManifest(folder: string): Promise<Manifest> {
  if (halfMadeName.test(folder)) throw new Error(`${folder} is a half-made snapshot`);
  const file = join(folder, manifestName);
  const found = await lstat(file).catch(() => undefined);
  if (!found?.isFile()) throw new Error(`${folder} is no snapshot, or a half-made one: it has no ${manifestName}`);
  if (found.size > manifestBytesMax) throw new Error(`${file} is damaged: it has ${found.size} bytes`);
  return parseManifest(await readFile(file, 'utf8'), file);
}

/** Throws an Error that says what is wrong with the text; `file` is what it calls it. */
export function parseManifest(text: string, file: string): Manifest {
  let parsed: { sha256?: unknown; manifest?: Partial<Manifest> } | null;
  try {
    parsed = JSON.parse(text) as typeof parsed;
  } catch {
    throw new Error(`${file} is damaged: it is not JSON`);
  }
  const manifest = parsed?.manifest;
  if (typeof manifest?.format === 'number' && manifest.format > formatKnown) {
    throw new Error(`${file} was written by a newer Binnacle (${manifest.madeBy}): use that one`);
  }
  if (manifest === undefined || parsed?.sha256 !== digest(JSON.stringify(manifest))) throw new Error(`${file} is damaged: its own checksum does not match`);
  const files = manifest.files ?? [];
  const wrong = files.find(({ path }) => !isPlainPath(path));
  // Its checksum is right, so somebody wrote it on purpose.
  if (wrong !== undefined) throw new Error(`${file} names a file outside the snapshot: ${JSON.stringify(wrong.path)}`);
  return manifest as Manifest;
}

function isPlainPath(path: string): boolean {
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && !part.includes('\0'));
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Every file below a folder, by path, the manifest excepted. Rejects on what is neither a file nor a folder. */
export async function listFiles(folder: string): Promise<{ files: string[]; folders: string[] }> {
  const [files, folders]: [string[], string[]] = [[], []];
  const walk = async (below: string): Promise<void> => {
    for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      if (path === manifestName) continue;
      if (entry.isDirectory()) {
        folders.push(path);
        await walk(path);
      } else if (entry.isFile()) files.push(path);
      else throw new Error(`${join(folder, path)} is neither a file nor a folder`);
    }
  };
  await walk('');
  return { files: files.toSorted(), folders };
}
