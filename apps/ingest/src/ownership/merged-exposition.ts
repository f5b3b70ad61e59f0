import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ExpositionFormat } from '../exposition.js';
import { Families, type Family, numberOf } from '../families.js';

/** Text is taken apart in pieces of about this many lines, so that a large exposition does not hold up everything else. */
const linesPerTurn = 2_000;

/**
 * One exposition of those of several nodes, in pieces: the same as if one node had all their series. Of a series that has just moved two nodes may
 * have a part each.
 *
 * @param texts as `exposition` makes them
 * @param away ids of nodes that could not be asked: their series are missing, and a gauge says so
 */
export async function* mergedExposition(texts: readonly string[], away: readonly string[], format: ExpositionFormat): AsyncGenerator<string> {
  const families = new Families(format);
  let lines = 0;
  for (const text of texts) {
    let family: Family | undefined;
    let given = '';
    for (let from = 0, to = text.indexOf('\n'); to >= 0; from = to + 1, to = text.indexOf('\n', from)) {
      lines += 1;
      if (lines % linesPerTurn === 0) await nextTurn();
      if (text.startsWith('# TYPE ', from)) {
        const [name, type] = text.slice(from + '# TYPE '.length, to).split(' ') as [string, string];
        given = name;
        family = families.family(name, type);
      } else if (text[from] !== '#' && family !== undefined) {
        const valueAt = text.lastIndexOf(' ', to) + 1;
        const rest = text.slice(from + given.length, valueAt - 1);
        const labelsAt = rest.indexOf('{');
        const [suffix, labels] = labelsAt < 0 ? [rest, ''] : [rest.slice(0, labelsAt), rest.slice(labelsAt)];
        families.add(family, suffix, labels, numberOf(text.slice(valueAt, to)));
      }
    }
  }
  if (away.length > 0) {
    const family = families.family('binnacle_ingest_node_away', 'gauge');
    for (const node of away) families.add(family, '', `{node="${node}"}`, 1);
  }
  yield* families.text();
}
