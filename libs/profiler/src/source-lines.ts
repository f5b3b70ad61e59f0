import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SourceMapper } from 'pprof';
import { Function as ProfileFunction, type Line, type Profile } from 'pprof-format';

/* Frames as the author wrote them: file and line by the source map that lies beside a loaded file. */

/** A generated file or a map that is larger is not read: parsing 8 MiB takes a third of a second of the profiled thread. */
const fileBytesMax = 8 * 1024 * 1024;
/** Of the maps that are kept parsed, measured as text; a parsed one takes up to 17 times that in memory. */
const keptBytesMax = 2 * 1024 * 1024;
/** For one profile, over all files; frames of files that are left keep their generated place. */
const readingMsMax = 1_000;
/** Files known to have no map are kept too, or each profile would look for it again. */
const keptFilesMax = 4_096;

/** Given to pprof as its source mapper: maps nothing, and makes it keep the columns, which `withSourceLines` needs. */
export const columnKeeper = { mappingInfo: (place: object) => ({ ...place, missingMapFile: true }) } as unknown as SourceMapper;

interface Place {
  readonly file: string;
  /** From 1. */
  readonly line: number;
}

interface FileMap {
  readonly textBytes: number;
  /** Line and column from 1. Undefined where the map says nothing. */
  placeOf(line: number, column: number): Place | undefined;
}

const noMap: FileMap = { textBytes: 0, placeOf: () => undefined };

/** By generated file, the one used last at the end. */
const kept = new Map<string, FileMap>();
let keptBytes = 0;

/**
 * Changes the profile: frames of files that have a source map get the original file, line and, for a function without a
 * name, a name that tells the original line. Maps are looked for beside the files that the profile names, never in a folder;
 * what packages under node_modules bring is left as it is installed. Columns and pprof's comment about maps are removed.
 */
export async function withSourceLines(profile: Profile): Promise<Profile> {
  const { strings } = profile.stringTable;
  const functions = new Map(profile.function.map((one) => [Number(one.id), one]));
  const lines = profile.location.flatMap((location) => location.line);
  const fileOf = (line: Line): string => strings[Number(functions.get(Number(line.functionId))?.filename ?? 0)] ?? '';
  const maps = await mapsOf(new Set(lines.map(fileOf)));
  const original = new Map<string, ProfileFunction>();
  for (const line of lines) {
    const place = maps.get(fileOf(line))?.placeOf(Number(line.line), Number(line.column));
    line.column = 0;
    const generated = functions.get(Number(line.functionId));
    if (place === undefined || generated === undefined) continue;
    line.line = place.line;
    const name = originalName(strings[Number(generated.name)] ?? '', place.line);
    const key = `${generated.id} ${name} ${place.file}`;
    let mapped = original.get(key);
    if (mapped === undefined) {
      const nameId = profile.stringTable.dedup(name);
      const filename = profile.stringTable.dedup(place.file);
      mapped = new ProfileFunction({ id: profile.function.length + 1, name: nameId, systemName: nameId, filename, startLine: place.line });
      original.set(key, mapped);
      profile.function.push(mapped);
    }
    line.functionId = mapped.id;
  }
  removeUnusedFunctions(profile, lines);
  profile.comment = profile.comment.filter((index) => strings[Number(index)] !== 'dd:has-missing-map-files');
  return profile;
}

/** pprof names a function without a name after its generated place. */
function originalName(name: string, line: number): string {
  return /^\(anonymous(:L#\d+)?(:C#\d+)?\)$/.test(name) ? `(anonymous:L#${line})` : name;
}

function removeUnusedFunctions(profile: Profile, lines: readonly Line[]): void {
  const used = new Set(lines.map((line) => Number(line.functionId)));
  profile.function = profile.function.filter((one) => used.has(Number(one.id)));
}

async function mapsOf(files: ReadonlySet<string>): Promise<Map<string, FileMap>> {
  const deadlineMs = performance.now() + readingMsMax;
  const maps = new Map<string, FileMap>();
  for (const file of files) {
    if (!/^(\/|file:|[A-Za-z]:\\)/.test(file) || /[\\/]node_modules[\\/]/.test(file)) continue;
    const known = kept.get(file);
    if (known === undefined && performance.now() > deadlineMs) continue;
    const map = known ?? (await readMap(file).catch(() => noMap));
    maps.set(file, map);
    keep(file, map);
  }
  return maps;
}

function keep(file: string, map: FileMap): void {
  if (kept.delete(file)) keptBytes -= map.textBytes;
  kept.set(file, map);
  keptBytes += map.textBytes;
  for (const [oldest, { textBytes }] of kept) {
    if (keptBytes <= keptBytesMax && kept.size <= keptFilesMax) break;
    keptBytes -= textBytes;
    kept.delete(oldest);
  }
}

async function readMap(file: string): Promise<FileMap> {
  const path = file.startsWith('file:') ? fileURLToPath(file) : file;
  const code = await readBounded(path);
  // The annotation is the last line, or nearly: a later match in a string of the code is no concern then.
  const at = Math.max(code.lastIndexOf('\n//# sourceMappingURL='), code.lastIndexOf('\n//@ sourceMappingURL='));
  const url = at < 0 ? undefined : code.slice(at + '\n//# sourceMappingURL='.length).split(/\s/, 1)[0];
  const inline = /^data:application\/json[^,]*?(;base64)?,(.*)$/s.exec(url ?? '');
  if (inline !== null) return parseMap(decodeInline(inline[2] ?? '', inline[1] !== undefined), dirname(path));
  if (url !== undefined && /^[a-z][a-z0-9+.-]+:/i.test(url) && !url.startsWith('file:')) return noMap;
  // A bundler that hides its maps writes no annotation, and the map beside the file all the same.
  const mapPath = url === undefined ? `${path}.map` : url.startsWith('file:') ? fileURLToPath(url) : resolve(dirname(path), decodeURIComponent(url));
  return parseMap(await readBounded(mapPath), dirname(mapPath));
}

function decodeInline(data: string, base64: boolean): string {
  return base64 ? Buffer.from(data, 'base64').toString() : decodeURIComponent(data);
}

async function readBounded(path: string): Promise<string> {
  const { size } = await stat(path);
  if (size > fileBytesMax) throw new Error(`${path} is larger than ${fileBytesMax} bytes`);
  return readFile(path, 'utf8');
}

function parseMap(text: string, folder: string): FileMap {
  const payload = JSON.parse(text) as SourceMapPayload;
  const map = new SourceMap({ ...payload, sourceRoot: '' });
  const files = new Map<string, string>();
  const fileOf = (source: string): string => {
    const file = files.get(source) ?? originalFile(source, payload.sourceRoot ?? '', folder);
    files.set(source, file);
    return file;
  };
  return {
    textBytes: text.length,
    placeOf(line, column) {
      const entry = map.findEntry(line - 1, Math.max(column - 1, 0));
      if (!('originalSource' in entry) || entry.originalSource === undefined) return undefined;
      return { file: fileOf(entry.originalSource), line: entry.originalLine + 1 };
    },
  };
}

/**
 * The path of a source on this machine if it is there; else, as in an image that ships only what was built, the path as the
 * map has it, without what leads out of the package: a path made absolute here would name a file that nobody has.
 */
function originalFile(source: string, sourceRoot: string, folder: string): string {
  const bare = `${sourceRoot && !sourceRoot.endsWith('/') ? `${sourceRoot}/` : sourceRoot}${source}`;
  const path = bare.startsWith('file:') ? fileURLToPath(bare) : bare.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*\//i, '');
  const here = resolve(folder, path);
  return existsSync(here) ? here : path.replace(/^(\.{0,2}\/)+/, '');
}
