/*
 * A snapshot in the remote store:
 *
 *   snapshots/{name}/files-{16 hex digits}/...   its files, in a folder of their own for every attempt
 *   snapshots/{name}/manifest.json               whose first fields say which folder that is, and how far it is; replaced by compare-and-set alone
 *
 * The manifest is claimed before the first file is put and says `complete` only after the last one. Whoever finds an attempt that nobody goes on with
 * replaces it by `abandoned`: the one that made it can then not complete it any more, and its folder is garbage for good.
 */

const segment = '[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}';
const namePattern = new RegExp(`^${segment}(?:/${segment}){0,2}$`);
const folderPattern = /^files-[0-9a-f]{16}$/;
const objectPattern = /^snapshots\/(.+?)\/(?:(files-[0-9a-f]{16})\/.+|manifest\.json)$/;
const headPattern = /^\{"state":"(complete|under way|abandoned)","folder":"(files-[0-9a-f]{16})"/;

/** Bytes of a manifest that say what it is. */
export const snapshotHeadBytes = 128;
/** An attempt that says nothing for longer is given up by others; it speaks up every few minutes. */
export const snapshotSilenceMsMax = 3_600_000;

export interface SnapshotHead {
  readonly state: 'complete' | 'under way' | 'abandoned';
  readonly folder: string;
}

/** One to three parts joined by `/`: letters, digits and `. _ -`, at most 64 of them, not beginning with a dot. */
export function isSnapshotName(name: string): boolean {
  return namePattern.test(name) && name.split('/').every((part) => part !== 'manifest.json' && !folderPattern.test(part));
}

export const snapshotManifestKey = (name: string): string => `snapshots/${name}/manifest.json`;
export const snapshotFilesPrefix = (name: string, folder: string): string => `snapshots/${name}/${folder}/`;

/** The snapshot that an object belongs to, and its folder; without one it is the manifest. Undefined: it is nothing of a snapshot. */
export function snapshotOf(key: string): { readonly name: string; readonly folder: string | undefined } | undefined {
  const [, name = '', folder] = objectPattern.exec(key) ?? [];
  return isSnapshotName(name) ? { name, folder } : undefined;
}

/** Throws on what is no manifest of a snapshot. */
export function parseSnapshotHead(text: string): SnapshotHead {
  const [, state, folder] = headPattern.exec(text) ?? [];
  if (state === undefined || folder === undefined) throw new Error('not the manifest of a snapshot, or of another version');
  return { state: state as SnapshotHead['state'], folder };
}

/** The object, of which `rest` is what follows the head: what more there is to say of it. */
export function snapshotManifestText({ state, folder }: SnapshotHead, rest: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify({ state, folder, ...rest })}\n`;
}
