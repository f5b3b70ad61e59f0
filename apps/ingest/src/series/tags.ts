/** Tags as a series has them: sorted, without empty ones and repetitions. gostatsd sorts them too, by their bytes. A comma ends a tag, also in a message: keys join tags by it. */
export function normalTags(tags: readonly string[]): readonly string[] {
  if (tags.length === 0) return noTags;
  const single = tags.some((tag) => tag.includes(',')) ? tags.flatMap((tag) => tag.split(',')) : tags;
  const sorted = single.filter((tag) => tag !== '').sort(byCodePoint);
  return sorted.some((tag, at) => tag === sorted[at - 1]) ? [...new Set(sorted)] : sorted;
}

const noTags: readonly string[] = [];

/** JavaScript's own order is that of UTF-16 units, which differs beyond the basic plane only; there the order need only be the same every time. */
const byCodePoint = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** gostatsd's key of a series under its name: sorted tags joined by commas, then `,s:` and the source. */
export function tagsKey(tags: readonly string[], source: string): string {
  return `${tags.join(',')},s:${source}`;
}

/** `env:prod` as a name and a value; a tag without a colon has no value. */
export function splitTag(tag: string): { name: string; value: string | undefined } {
  const colon = tag.indexOf(':');
  return colon < 0 ? { name: tag, value: undefined } : { name: tag.slice(0, colon), value: tag.slice(colon + 1) };
}
