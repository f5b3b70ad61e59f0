import { hashed } from '@binnacle/cluster-state/rendezvous';
import { type ExpositionFormat, familiesText, type Family, nextTurn } from '../exposition.js';

/** Text is taken apart in pieces of about this many lines, so that a large exposition does not hold up everything else. */
const linesPerTurn = 2_000;
/** A set that grows copies itself: of many small ones none takes long. */
const setsOfSamples = 256;

/**
 * One exposition of those of several nodes, in pieces.
 *
 * @param texts as `exposition` makes them
 * @param away ids of nodes that could not be asked: their series are missing, and a gauge says so
 */
export async function* mergedExposition(texts: readonly string[], away: readonly string[], format: ExpositionFormat): AsyncGenerator<string> {
  const families = new Map<string, Family>();
  // By name and labels: a series that has just moved may be shown by two nodes, and is right on either.
  const known = Array.from({ length: setsOfSamples }, () => new Set<string>());
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
        family = familyOf(families, name, type);
      } else if (text[from] !== '#' && family !== undefined) {
        const line = family.name + text.slice(from + given.length, to + 1);
        const identity = line.slice(0, line.lastIndexOf(' '));
        const samples = known[(hashed(identity) >>> 0) % setsOfSamples] as Set<string>;
        if (!samples.has(identity)) family.samples.push(line);
        samples.add(identity);
      }
    }
  }
  if (away.length > 0) families.set(awayName, { name: awayName, type: 'gauge', samples: away.map((node) => `${awayName}{node="${node}"} 1\n`) });
  yield* familiesText(families.values(), format);
}

const awayName = 'binnacle_ingest_node_away';

/** What is of one type on one node and of another on the next has two names, as it would have on one node. */
function familyOf(families: Map<string, Family>, name: string, type: string): Family {
  const there = families.get(name);
  if (there?.type === type) return there;
  if (there !== undefined) return familyOf(families, `${name}_${type}`, type);
  const family = { name, type, samples: [] };
  families.set(name, family);
  return family;
}
