/*
 * A delete mark is an object named after the one that is to be deleted. It says to whoever would publish a file that has lain about unreferenced: it is
 * too late for this one. The age of the mark is the time readers have had since.
 */

export const marksPrefix = 'gc/marks/';

/** Keys in a region have no `=`. */
export function markKeyOf(key: string): string {
  return `${marksPrefix}${key.replaceAll('/', '=')}`;
}

/** The key of the object that is marked. */
export function markedKeyOf(markKey: string): string {
  return markKey.slice(marksPrefix.length).replaceAll('=', '/');
}
