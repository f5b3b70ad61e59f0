import { childrenOf, type CallTree } from './call-tree.js';
import { widestNodes } from './widest-nodes.js';

/** Width of the picture before a script fits it to the window, and the frames' margin on both sides, in pixels. */
export const pictureWidth = 1200;
export const marginX = 10;
export const chartWidth = pictureWidth - 2 * marginX;

/** Frames narrower than this many pixels of an unzoomed picture are not drawn. */
export const framePixelsMin = 0.1;
/** V8 keeps 255 frames of a stack; what lies deeper than this is a runaway recursion. */
export const levelsMax = 512;
/** A browser takes about half a second to show this many, which make 3 MB. */
const framesMax = 20_000;

/** A frame to draw, `x` and `width` in pixels of the chart. Level 0 is the root. */
export interface PlacedFrame {
  readonly node: number;
  readonly x: number;
  readonly width: number;
}

export interface Layout {
  /** By level, from left to right. */
  readonly levels: readonly (readonly PlacedFrame[])[];
  readonly drawn: number;
  /** Frames that are too narrow, too deep or too many to be drawn. Their values remain in the frames below them. */
  readonly left: number;
}

/**
 * Where the frames go: children by name next to each other above their parent, so that two pictures of one program look alike. What a
 * function spends in itself, or in children that are not drawn, stays free on the right. `weights` says how wide every node is; a parent's is at least
 * the sum of its children's.
 */
export function layOut(tree: CallTree, weights: Float64Array): Layout {
  const all = weights[0]!;
  if (!(all > 0)) return { levels: [], drawn: 0, left: 0 };
  const { weightMin, count } = widestNodes(tree, weights, { shareMin: framePixelsMin / chartWidth, nodesMax: framesMax });
  const scale = chartWidth / all;
  const { firstOf, nextOf } = childrenOf(tree, weights, weightMin);
  const nameOf = (node: number): string => tree.frames[tree.frameOf[node]!]!.name;
  const levels: PlacedFrame[][] = [[{ node: 0, x: 0, width: chartWidth }]];
  let drawn = 0;
  for (let level = 0; level < levelsMax; level++) {
    const above: PlacedFrame[] = [];
    for (const parent of levels[level]!) {
      const children: number[] = [];
      for (let child = firstOf[parent.node]!; child !== 0; child = nextOf[child]!) children.push(child);
      if (children.length > 1) children.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
      let { x } = parent;
      for (const node of children) {
        const width = weights[node]! * scale;
        above.push({ node, x, width });
        x += width;
      }
    }
    if (above.length === 0) break;
    drawn += above.length;
    levels.push(above);
  }
  return { levels, drawn, left: count - drawn };
}
