/** Which part of a capture a folder has, and which others there are: one for each worker of each proxy node. */
export interface CapturePart {
  /** Of the capture. */
  readonly job: string;
  readonly node: string;
  /** All that captured, this one included. */
  readonly nodes: readonly string[];
  readonly worker: number;
  /** Those of this node. */
  readonly workers: readonly number[];
}

/** What a meta says; undefined: nothing, or nothing that can be read. */
export function parsePart(value: unknown): CapturePart | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { job, node, nodes, worker, workers } = value as Partial<CapturePart>;
  if (typeof job !== 'string' || typeof node !== 'string' || typeof worker !== 'number') return undefined;
  if (!Array.isArray(nodes) || !Array.isArray(workers)) return undefined;
  if (!nodes.every((each) => typeof each === 'string') || !workers.every((each) => typeof each === 'number')) return undefined;
  return { job, node, nodes, worker, workers };
}

/** For people: those that the parts given know of, and that are not among them. All are of one job. */
export function missingParts(parts: readonly CapturePart[]): string[] {
  const workersThere = new Map<string, Set<number>>();
  for (const { node, worker } of parts) workersThere.set(node, (workersThere.get(node) ?? new Set()).add(worker));
  const missingNodes = new Set(parts.flatMap(({ nodes }) => nodes).filter((node) => !workersThere.has(node)));
  const missingWorkers = new Set(parts.flatMap(({ node, workers }) => workers.filter((worker) => !workersThere.get(node)?.has(worker)).map((worker) => `worker ${worker} of proxy node ${node}`)));
  return [...[...missingNodes].map((node) => `proxy node ${node}`), ...missingWorkers].toSorted();
}
