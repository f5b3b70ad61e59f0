import { closest, distance } from 'fastest-levenshtein';

/** The known name that was probably meant, or undefined when none is near: a wrong guess misleads more than none. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  if (known.length === 0) return undefined;
  // A few mistyped letters, not another word: a third of the name, and at least two letters.
  const best = closest(name.toLowerCase(), known.map((each) => each.toLowerCase()));
  const found = known.find((each) => each.toLowerCase() === best);
  return distance(name.toLowerCase(), best) <= Math.max(2, Math.ceil(name.length / 3)) ? found : undefined;
}

/** ` ; did you mean "x"?` or nothing, to end a message with. */
export function didYouMean(name: string, known: readonly string[]): string {
  const nearest = nearestName(name, known);
  return nearest === undefined ? '' : `; did you mean "${nearest}"?`;
}
