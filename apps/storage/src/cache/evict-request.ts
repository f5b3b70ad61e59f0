import { fileTypes, type FileType } from './file-type.js';

/** What `/tiflash/remote/cache/evict/*` asks for. */
export type EvictRequest =
  | { readonly method: 'ByFileType'; readonly type: FileType }
  | { readonly method: 'ByEvictSize'; readonly reserveBytes: bigint; readonly minAgeS: number; readonly force: boolean };

/** The body of a 400. */
export interface RefusedRequest {
  readonly message: string;
}

const sizeMax = 2n ** 64n - 1n;
/** 1,000 years. */
const ageMaxS = 31_536_000_000;

/** `path` is the whole path, as it is named in a refusal. */
export function parseTypeEviction(path: string, type: string): EvictRequest | RefusedRequest {
  if (!/^-?\d+$/.test(type)) return { message: `invalid file type in request: ${path}` };
  const known = fileTypes[Number(type)];
  return known === undefined ? { message: `invalid file type enum value in request: ${path}` } : { method: 'ByFileType', type: known };
}

/** `force` counts as true when it is there, unless it is `0` or `false`; without `age`, in seconds, the configured age counts. */
export function parseSizeEviction(path: string, size: string, query: Readonly<Record<string, unknown>>, configuredAgeS: number): EvictRequest | RefusedRequest {
  if (/^-\d+$/.test(size)) return { message: `invalid negative size in request: ${path}` };
  if (!/^\d+$/.test(size) || BigInt(size) > sizeMax) return { message: `invalid size in request: ${path}` };
  const { force, age } = query;
  const minAgeS = age === undefined ? configuredAgeS : /^\d+$/.test(String(age)) ? Number(age) : Infinity;
  if (minAgeS > ageMaxS) return { message: `invalid age in request: ${path}` };
  return { method: 'ByEvictSize', reserveBytes: BigInt(size), minAgeS, force: force !== undefined && force !== '0' && force !== 'false' };
}

/** As the answer repeats it. */
export function requestText(request: EvictRequest): string {
  if (request.method === 'ByFileType') return `{method=ByFileType evict_type=${request.type}}`;
  return `{method=ByEvictSize reserve_size=${request.reserveBytes} min_age=${request.minAgeS} force=${request.force}}`;
}
