import { childrenOf } from './call-tree.js';
import { levelsMax } from './flame-graph-layout.js';
import { callTree, type ProfileSource } from './profile-tree.js';
import { widestNodes } from './widest-nodes.js';

interface TreeNode {
  readonly name: string;
  readonly file?: string;
  readonly line?: number;
  readonly value: number;
  readonly self: number;
  readonly children?: readonly TreeNode[];
}

/** A script that draws every node of such a tree takes some seconds for more. */
const nodesMaxDefault = 100_000;

/**
 * The call tree of a profile as JSON with `name`, `value` and `children`, as d3-flame-graph and others of its kind take it. Of a larger tree it
 * has the widest `nodesMax` nodes down to 512 levels, and `left` says how many are not in it; their values remain in those above them.
 * Throws as `callTree`.
 */
export function treeJson(source: ProfileSource, title: string, nodesMax = nodesMaxDefault): string {
  const tree = callTree(source);
  const { total, self, sampleType, durationNanos } = tree;
  const { weightMin, count } = widestNodes(tree, total, { shareMin: 0, nodesMax });
  const { firstOf, nextOf } = childrenOf(tree, total, weightMin);
  let shown = -1;
  const nodeOf = (node: number, level: number): TreeNode => {
    shown++;
    const children: TreeNode[] = [];
    if (level < levelsMax) for (let child = firstOf[node]!; child !== 0; child = nextOf[child]!) children.push(nodeOf(child, level + 1));
    const { name, fileName, line } = node === 0 ? { name: 'root', fileName: '', line: 0 } : tree.frames[tree.frameOf[node]!]!;
    return { name, ...(fileName && { file: fileName }), ...(line > 0 && { line }), value: total[node]!, self: self[node]!, ...(children.length > 0 && { children }) };
  };
  const root = nodeOf(0, 0);
  return JSON.stringify({ title, sampleType, durationNanos, left: count - shown, root });
}
