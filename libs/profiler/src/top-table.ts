import { childrenOf, type CallTree, type SampleType } from './call-tree.js';
import { humanValue } from './human-value.js';
import { callTree, type ProfileSource } from './profile-tree.js';

/** A function in the table. Values are in the unit of the sample type, shares of the table's total. */
export interface TopRow {
  readonly name: string;
  /** Empty when unknown. */
  readonly fileName: string;
  /** Where the function starts; 0 when unknown. */
  readonly line: number;
  /** Spent in the function itself. */
  readonly flat: number;
  readonly flatShare: number;
  /** Spent in it and in what it called; a recursive function counts once in a stack. */
  readonly cumulative: number;
  readonly cumulativeShare: number;
}

export interface TopTable {
  readonly sampleType: SampleType;
  readonly total: number;
  readonly durationNanos: number;
  /** By flat value, largest change or use first, then by cumulative value, then by name. */
  readonly rows: readonly TopRow[];
}

/**
 * What each function of a profile costs. In a difference, values may be negative; shares are of the sum of all amounts, whatever their sign.
 * Throws as `callTree`.
 */
export function topTable(source: ProfileSource, sampleType?: string): TopTable {
  const tree = callTree(source, sampleType);
  const { flat, cumulative, amounts } = sumsOf(tree);
  const share = (value: number): number => (amounts === 0 ? 0 : value / amounts);
  const rows = tree.frames.map(({ name, fileName, line }, frame) => {
    const own = flat[frame]!;
    const all = cumulative[frame]!;
    return { name, fileName, line, flat: own, flatShare: share(own), cumulative: all, cumulativeShare: share(all) };
  });
  const used = rows.filter((row) => row.flat !== 0 || row.cumulative !== 0).sort(byAmount);
  return { sampleType: tree.sampleType, total: tree.total[0]!, durationNanos: tree.durationNanos, rows: used };
}

/** By frame; one walk down and up the tree, which knows the functions above it, so that a recursive one counts only where it is outermost. */
function sumsOf(tree: CallTree): { flat: Float64Array; cumulative: Float64Array; amounts: number } {
  const { frameOf, parentOf, self, total } = tree;
  const { firstOf, nextOf } = childrenOf(tree);
  const flat = new Float64Array(tree.frames.length);
  const cumulative = new Float64Array(tree.frames.length);
  const open = new Uint32Array(tree.frames.length);
  let amounts = Math.abs(self[0]!);
  let node = firstOf[0]!;
  while (node !== 0) {
    const frame = frameOf[node]!;
    flat[frame]! += self[node]!;
    amounts += Math.abs(self[node]!);
    if (open[frame]!++ === 0) cumulative[frame]! += total[node]!;
    let next = firstOf[node]!;
    while (next === 0 && node !== 0) {
      open[frameOf[node]!]!--;
      next = nextOf[node]!;
      node = parentOf[node]!;
    }
    node = next;
  }
  return { flat, cumulative, amounts };
}

function byAmount(a: TopRow, b: TopRow): number {
  return Math.abs(b.flat) - Math.abs(a.flat) || Math.abs(b.cumulative) - Math.abs(a.cumulative) || (a.name < b.name ? -1 : 1);
}

/** The table as text, in the columns of `go tool pprof -top`, with the place of each function at the end. */
export function topText({ sampleType, total, durationNanos, rows }: TopTable): string {
  const { type, unit } = sampleType;
  const human = (value: number): string => humanValue(value, unit);
  const percent = (share: number): string => `${(100 * share).toFixed(2)}%`;
  const duration = durationNanos > 0 ? `Duration: ${humanValue(durationNanos, 'nanoseconds')}, ` : '';
  const lines = [`Type: ${type}`, `${duration}Total samples: ${human(total)}`, topHead];
  let sum = 0;
  for (const row of rows) {
    sum += row.flatShare;
    const figures = [human(row.flat).padStart(10), percent(row.flatShare).padStart(7), percent(sum).padStart(7)];
    figures.push(human(row.cumulative).padStart(10), percent(row.cumulativeShare).padStart(7));
    lines.push(`${figures.join(' ')}  ${oneLine(row.name)} ${oneLine(placeOf(row))}`.trimEnd());
  }
  return `${lines.join('\n')}\n`;
}

const topHead = '      flat   flat%    sum%        cum    cum%';

function placeOf({ fileName, line }: TopRow): string {
  return line > 0 ? `${fileName}:${line}` : fileName;
}

/** A name that stays on its line and does nothing to a terminal. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, ' ');
}
