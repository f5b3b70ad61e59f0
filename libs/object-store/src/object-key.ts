/** S3 allows 1,024 bytes, the store's prefix included. */
const keyLengthMax = 900;
/** What file systems allow for one name. */
const segmentLengthMax = 255;
const segmentPattern = /^[A-Za-z0-9_=-][A-Za-z0-9._=-]*$/;

/** Throws on what is no key; so a key can be a path below a folder and nothing else. */
export function checkKey(key: string): void {
  const segments = key.split('/');
  const valid = key.length <= keyLengthMax && segments.every((segment) => segment.length <= segmentLengthMax && segmentPattern.test(segment));
  if (!valid) throw new RangeError(`not a key of an object: ${JSON.stringify(key.slice(0, 200))}`);
}

/** Throws on what no key can begin with. */
export function checkPrefix(prefix: string): void {
  if (prefix !== '') checkKey(prefix.endsWith('/') ? prefix.slice(0, -1) : prefix);
}

/** Throws on a range that is empty or no range. */
export function checkRange({ offset, length }: { readonly offset: number; readonly length: number }): void {
  const valid = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 1;
  if (!valid) throw new RangeError(`not a range of bytes: offset ${offset}, length ${length}`);
}
