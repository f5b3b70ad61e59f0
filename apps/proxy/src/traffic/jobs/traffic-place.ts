import { isAbsolute, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isWithin, pathWithoutLinks } from '@binnacle/node-kit/path-without-links';
import type { S3StoreOptions } from '@binnacle/object-store/s3-store';
import { bad } from './traffic-form.js';

/*
 * Where captures may be written and read. Whoever may start a job must not thereby write or read files anywhere as the proxy's user, or make it
 * talk to a bucket of his own: a place lies under one of the roots of the node's configuration.
 */

export interface TrafficRoots {
  /** Absolute folders, and `s3://BUCKET/PREFIX`. */
  readonly roots: readonly string[];
  /** The live data of the node. */
  readonly dataDir: string;
}

const pathCharactersMax = 2_000;

/** Plain data, for other processes. */
export function storeSettings({ s3Endpoint, s3Region, s3ForcePathStyle, attemptTimeoutMs, timeoutMs, connectionsMax }: S3StoreOptions): S3StoreOptions {
  return { s3Endpoint, s3Region, s3ForcePathStyle, attemptTimeoutMs, timeoutMs, connectionsMax };
}

/** The roots of a node: what is configured, or `traffic` in its data folder. */
export function trafficRoots(dataDir: string, configured: readonly string[]): TrafficRoots {
  return { dataDir: resolve(dataDir), roots: configured.length > 0 ? configured : [resolve(dataDir, 'traffic')] };
}

/**
 * A client's `output` or `input` as an absolute folder without links, or as `s3://BUCKET/PREFIX`. Throws BAD_REQUEST, in words that name `field`
 * and show nothing of credentials.
 */
export async function trafficPlace(field: 'output' | 'input', text: string, { roots, dataDir }: TrafficRoots): Promise<string> {
  const place = placeText(field, text);
  if (place.startsWith('s3://')) {
    if (!roots.some((root) => root.startsWith('s3://') && `${place}/`.startsWith(`${withoutSlash(root)}/`))) throw outside(field, roots);
    return place;
  }
  const folder = await followLinks(field, place);
  for (const root of roots.filter((each) => !each.startsWith('s3://'))) {
    const realRoot = await followLinks(field, resolve(root));
    if (!isWithin(realRoot, folder)) continue;
    const realData = await followLinks(field, dataDir);
    // A root around the data folder must not open it; one inside of it was put there for this.
    if (isWithin(realData, folder) && !isWithin(realData, realRoot)) throw bad(`${field} lies in the data folder of the node`);
    if (folder === realRoot && field === 'output') throw bad(`${field} must be a folder in ${root}, not that itself`);
    return folder;
  }
  throw outside(field, roots);
}

/** The same without roots, for who runs it himself. */
export function placeText(field: 'output' | 'input', text: string): string {
  const place = /^(local|file):\/\//.test(text) ? folderOf(field, text) : text;
  if (place.length > pathCharactersMax) throw bad(`${field} is longer than ${pathCharactersMax} characters`);
  if (/[\0-\x1f\x7f]/.test(place) || place.split('/').includes('..')) throw bad(`${field} must not contain \`..\` or control characters`);
  if (place.startsWith('s3://')) return bucketOf(field, place);
  if (/^[a-z0-9]+:\/\//i.test(place)) throw bad(`${field} must be an absolute folder or s3://BUCKET/PREFIX: other kinds of storage are not known here`);
  if (!isAbsolute(place)) throw bad(`${field} must be an absolute path`);
  return resolve(place);
}

function folderOf(field: string, text: string): string {
  try {
    return fileURLToPath(text.replace(/^local:/, 'file:'));
  } catch {
    throw bad(`${field} must be file:///FOLDER`);
  }
}

function bucketOf(field: string, text: string): string {
  if (/[?#@]/.test(text)) {
    throw bad(`${field} must be s3://BUCKET/PREFIX alone: the endpoint and the region are those of the node's configuration (remote.s3-endpoint, remote.s3-region), and credentials come from its environment`);
  }
  if (!/^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\/[A-Za-z0-9._=/-]+$/.test(text) || text.slice(5).includes('//')) throw bad(`${field} must be s3://BUCKET/PREFIX, the prefix of letters, digits and . _ = / -`);
  return withoutSlash(text);
}

function withoutSlash(text: string): string {
  return text.endsWith('/') ? text.slice(0, -1) : text;
}

function outside(field: string, roots: readonly string[]): Error {
  return bad(`${field} must lie in one of the folders or buckets that proxy.traffic-roots names: ${roots.join(', ')}`);
}

async function followLinks(field: string, path: string): Promise<string> {
  return pathWithoutLinks(path).catch((error: NodeJS.ErrnoException) => {
    throw bad(`${field} cannot be used: ${error.code}`);
  });
}
