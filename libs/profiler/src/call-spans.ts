import type { Profiler } from 'node:inspector';
import type { TraceEvent } from './trace-event.js';

type Node = Profiler.ProfileNode;

/** V8's own entries between the program's: nothing was called. */
const nothing = new Set(['(root)', '(program)', '(idle)']);

/**
 * The calls that a sampled profile saw, as spans: a function is on the stack from the first sample that has it until the first that has not, so
 * two calls in a row look like one. In the order in which they ended, what is still running at the end included.
 */
export function* callSpans({ nodes, samples = [], timeDeltas = [], startTime }: Profiler.Profile): Generator<TraceEvent> {
  const stackOf = stacks(nodes);
  const open: { node: Node; since: number }[] = [];
  let now = startTime;
  for (const [index, id] of samples.entries()) {
    now += timeDeltas[index] ?? 0;
    const stack = stackOf(id);
    let same = 0;
    while (same < open.length && open[same]?.node === stack[same]) same++;
    while (open.length > same) yield span(open.pop() as { node: Node; since: number }, now);
    for (const node of stack.slice(same)) open.push({ node, since: now });
  }
  for (const running of open.reverse()) yield span(running, now);
}

/** The frames under a node, the outermost first. A profile has far fewer nodes than samples. */
function stacks(nodes: readonly Node[]): (id: number) => readonly Node[] {
  const parents = new Map<number, Node>();
  const byId = new Map(nodes.map((node) => [node.id, node]));
  for (const node of nodes) for (const child of node.children ?? []) parents.set(child, node);
  const known = new Map<number, readonly Node[]>();
  return (id) => {
    const seen = known.get(id);
    if (seen !== undefined) return seen;
    const stack: Node[] = [];
    for (let node = byId.get(id); node !== undefined; node = parents.get(node.id)) if (!nothing.has(node.callFrame.functionName)) stack.push(node);
    known.set(id, stack.reverse());
    return stack;
  };
}

function span({ node, since }: { node: Node; since: number }, now: number): TraceEvent {
  const { functionName, url, lineNumber } = node.callFrame;
  return {
    name: functionName === '' ? '(anonymous)' : functionName,
    cat: 'js',
    ph: 'X',
    ts: since,
    dur: now - since,
    ...(url !== '' && { args: { file: url, line: lineNumber + 1 } }),
  };
}
