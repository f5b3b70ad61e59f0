/** Random numbers that a seed repeats: for tests of properties. A failing test names its seed, and so can be run again. */
export interface SeededRandom {
  /** An integer from 0 to `limit - 1`. */
  below(limit: number): number;
  bytes(count: number): Buffer;
  oneOf<T>(values: readonly T[]): T;
}

/** The generator is mulberry32: 32 bits of state, good enough to make cases with. */
export function seededRandom(seed: number): SeededRandom {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const below = (limit: number): number => Math.floor((next() / 2 ** 32) * limit);
  return {
    below,
    bytes: (count) => Buffer.from(Array.from({ length: count }, () => below(256))),
    oneOf: (values) => values[below(values.length)]!,
  };
}

/** The same bytes in pieces of 1 to `bytesMax`, as a network might bring them. */
export function randomChunks(bytes: Buffer, random: SeededRandom, bytesMax = 16): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + random.below(bytesMax);
    chunks.push(bytes.subarray(at, at + length));
    at += length;
  }
  return chunks;
}
