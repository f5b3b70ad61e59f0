import type { Frame } from './call-tree.js';
import { callTree, type ProfileSource } from './profile-tree.js';

/**
 * Folded stacks, as flamegraph.pl, inferno and speedscope read them: a line `root;caller;leaf 123` for every distinct stack, in order of text,
 * with a line feed at the end. The numbers are in the unit of the sample type (absent, the profile's default). Stacks with the value 0 are
 * left out. Throws as `callTree`.
 */
export function foldedStacks(source: ProfileSource, sampleType?: string): string {
  const tree = callTree(source, sampleType);
  const names = tree.frames.map(foldedName);
  const paths = new Array<string>(tree.nodeCount);
  const values = new Map<string, number>();
  for (let node = 1; node < tree.nodeCount; node++) {
    const name = names[tree.frameOf[node]!]!;
    const parent = tree.parentOf[node]!;
    const path = parent === 0 ? name : `${paths[parent]};${name}`;
    paths[node] = path;
    const value = tree.self[node]!;
    // Functions of one name in different files are the same here, so that a stack can come up again.
    if (value !== 0) values.set(path, (values.get(path) ?? 0) + value);
  }
  const lines = [...values].map(([path, value]) => `${path} ${value}\n`);
  return lines.sort().join('');
}

/** A name that cannot end its frame or its line. */
function foldedName({ name }: Frame): string {
  const safe = name.replaceAll(';', ':').replace(/[\p{Cc}\u2028\u2029]/gu, ' ').trim();
  return safe || '(unknown)';
}
