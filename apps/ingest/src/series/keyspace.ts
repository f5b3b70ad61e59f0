/** The tenant a series is of: the value of its tag `keyspace`, 0 to 2^32 - 1, as tables have one; 0 where there is none or it is no such number. */
export function keyspaceOf(tags: readonly string[]): number {
  for (const tag of tags) {
    if (!tag.startsWith(prefix)) continue;
    const text = tag.slice(prefix.length);
    const keyspace = /^\d{1,10}$/.test(text) ? Number(text) : 0;
    return keyspace <= keyspaceMax ? keyspace : 0;
  }
  return 0;
}

export function keyspaceTag(keyspace: number): string {
  return `${prefix}${keyspace}`;
}

const prefix = 'keyspace:';
const keyspaceMax = 2 ** 32 - 1;
