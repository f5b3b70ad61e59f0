import type { ExpositionFormat } from '../exposition.js';

interface Family {
  readonly name: string;
  readonly type: string;
  /** By name and labels: a series that has just moved may be shown by two nodes, and is right on either. */
  readonly samples: Map<string, string>;
}

/** Text is taken apart in pieces of about this many lines, so that a large exposition does not hold up everything else. */
const linesPerPiece = 5_000;

/**
 * One exposition of those of several nodes, in pieces. Every family is whole and comes once.
 *
 * @param texts as `exposition` makes them
 * @param away ids of nodes that could not be asked: their series are missing, and a gauge says so
 */
export async function* mergedExposition(texts: readonly string[], away: readonly string[], format: ExpositionFormat): AsyncGenerator<string> {
  const families = new Map<string, Family>();
  let family: Family | undefined;
  let given = '';
  let lines = 0;
  for (const text of texts) {
    for (let from = 0, to = text.indexOf('\n'); to >= 0; from = to + 1, to = text.indexOf('\n', from)) {
      lines += 1;
      if (lines % linesPerPiece === 0) await new Promise((resolve) => setImmediate(resolve));
      if (text.startsWith('# TYPE ', from)) {
        const [name, type] = text.slice(from + '# TYPE '.length, to).split(' ') as [string, string];
        given = name;
        family = familyOf(families, name, type);
      } else if (text[from] !== '#' && family !== undefined) {
        const line = family.name + text.slice(from + given.length, to);
        const identity = line.slice(0, line.lastIndexOf(' '));
        if (!family.samples.has(identity)) family.samples.set(identity, line);
      }
    }
  }
  for (const { name, type, samples } of families.values()) yield `# TYPE ${name} ${type}\n${[...samples.values(), ''].join('\n')}`;
  if (away.length > 0) yield `# TYPE ${awayName} gauge\n${away.map((node) => `${awayName}{node="${node}"} 1\n`).join('')}`;
  if (format === 'openMetrics') yield '# EOF\n';
}

const awayName = 'binnacle_ingest_node_away';

/** What is of one type on one node and of another on the next has two names, as it would have on one node. */
function familyOf(families: Map<string, Family>, name: string, type: string): Family {
  const there = families.get(name);
  if (there?.type === type) return there;
  if (there !== undefined) return familyOf(families, `${name}_${type}`, type);
  const family = { name, type, samples: new Map<string, string>() };
  families.set(name, family);
  return family;
}
