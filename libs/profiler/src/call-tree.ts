import { UnreadableProfile } from './unreadable-profile.js';

/** A function, as far as renderings tell functions apart. `line` is where it starts, 0 when unknown. */
export interface Frame {
  readonly name: string;
  readonly fileName: string;
  readonly line: number;
  /** It is no function but the value of a label, below the stacks that carry it. */
  readonly isLabel?: true;
}

/** What is measured and in what, such as `cpu` in `nanoseconds` or `inuse_space` in `bytes`. */
export interface SampleType {
  readonly type: string;
  readonly unit: string;
}

/**
 * All stacks of a profile as one tree of calls, in columns: node 0 is the root, a parent's number is smaller than its children's.
 * `self` and `total` are values of the sample type, `baseSelf` and `baseTotal` those of the profile that it is compared with, else 0.
 */
export interface CallTree {
  readonly sampleType: SampleType;
  readonly durationNanos: number;
  readonly frames: readonly Frame[];
  readonly nodeCount: number;
  /** The frame of a node; meaningless for the root. */
  readonly frameOf: Uint32Array;
  readonly parentOf: Uint32Array;
  readonly self: Float64Array;
  readonly total: Float64Array;
  readonly baseSelf: Float64Array;
  readonly baseTotal: Float64Array;
}

/** About 50 bytes a node: 400 MB. A real profile has some ten thousand. */
const nodesMax = 8_000_000;
const firstCapacity = 1 << 12;

/** Which of the two columns a sample counts in: of the profile itself or of the one that it is compared with. */
export type Column = 'self' | 'base';

/** What of a profile goes into a tree. */
export interface SampleChoice {
  readonly column: Column;
  /** A sample type's name; absent, the profile's default. */
  readonly sampleType?: string | undefined;
  /** A label whose value becomes the lowest frame of the samples that carry it. */
  readonly rootLabel?: string | undefined;
}

/** Grows a call tree sample by sample, without an object per sample. Several profiles may go into one tree. */
export class CallTreeBuilder {
  readonly #frames: Frame[] = [];
  readonly #frameNumbers = new Map<string, number>();
  #frameOf = new Uint32Array(firstCapacity);
  #parentOf = new Uint32Array(firstCapacity);
  #self = new Float64Array(firstCapacity);
  #baseSelf = new Float64Array(firstCapacity);
  #hasBase = false;
  #nodeCount = 1;
  /** The child of a node that came first, 0 without any. Most nodes have no other, so that most look-ups end here. */
  #firstOf = new Uint32Array(firstCapacity);
  /** All other children: open addressing, node numbers by (parent, frame); 0 is an empty slot, as the root is nobody's child. */
  #slots = new Uint32Array(2 * firstCapacity);
  #slotsUsed = 0;
  /** The stack added last, root first: neighbours in a profile share most of it. */
  #lastFrames = new Uint32Array(256);
  #lastNodes = new Uint32Array(256);
  #lastDepth = 0;

  /** Makes room for so many nodes. Too much costs nothing: the system gives memory when it is written to. */
  reserve(nodeCount: number): void {
    const capacity = Math.min(nodeCount, nodesMax);
    if (capacity <= this.#self.length) return;
    this.#frameOf = grown(this.#frameOf, new Uint32Array(capacity));
    this.#parentOf = grown(this.#parentOf, new Uint32Array(capacity));
    this.#firstOf = grown(this.#firstOf, new Uint32Array(capacity));
    this.#self = grown(this.#self, new Float64Array(capacity));
    this.#baseSelf = grown(this.#baseSelf, new Float64Array(capacity));
  }

  /** The number of a function; the same for equal ones. */
  frame(name: string, fileName: string, line: number): number {
    const key = `${name}\n${fileName}\n${line}`;
    const known = this.#frameNumbers.get(key);
    if (known !== undefined) return known;
    this.#frames.push({ name, fileName, line });
    this.#frameNumbers.set(key, this.#frames.length - 1);
    return this.#frames.length - 1;
  }

  /** The number of the frame for a label's value, such as `node a`. */
  labelFrame(key: string, value: string): number {
    const name = `${key} ${value}`;
    const known = this.#frameNumbers.get(name);
    if (known !== undefined) return known;
    this.#frames.push({ name, fileName: '', line: 0, isLabel: true });
    this.#frameNumbers.set(name, this.#frames.length - 1);
    return this.#frames.length - 1;
  }

  /** Adds `value` to the stack of the first `depth` frames in `stack`, which stand leaf first. */
  add(stack: Uint32Array, depth: number, value: number, column: Column): void {
    if (depth > this.#lastFrames.length) this.#growPath(depth);
    const frames = this.#lastFrames;
    const nodes = this.#lastNodes;
    const shared = Math.min(depth, this.#lastDepth);
    let level = 0;
    while (level < shared && frames[level] === stack[depth - 1 - level]) level++;
    let node = level === 0 ? 0 : nodes[level - 1]!;
    for (; level < depth; level++) {
      const frame = stack[depth - 1 - level]!;
      node = this.#child(node, frame);
      frames[level] = frame;
      nodes[level] = node;
    }
    this.#lastDepth = depth;
    if (column === 'base') this.#hasBase = true;
    const values = column === 'self' ? this.#self : this.#baseSelf;
    values[node] = values[node]! + value;
  }

  /** The tree of everything added. The builder must not be used afterwards. */
  finish(sampleType: SampleType, durationNanos: number): CallTree {
    const nodeCount = this.#nodeCount;
    const cut = { frameOf: this.#frameOf.subarray(0, nodeCount), parentOf: this.#parentOf.subarray(0, nodeCount) };
    const self = this.#self.subarray(0, nodeCount);
    const baseSelf = this.#baseSelf.subarray(0, nodeCount);
    const total = self.slice();
    const baseTotal = this.#hasBase ? baseSelf.slice() : baseSelf;
    // Children come after their parents, so that one walk backwards sums every subtree.
    for (let node = nodeCount - 1; node > 0; node--) total[cut.parentOf[node]!]! += total[node]!;
    if (this.#hasBase) for (let node = nodeCount - 1; node > 0; node--) baseTotal[cut.parentOf[node]!]! += baseTotal[node]!;
    return { sampleType, durationNanos, frames: this.#frames, nodeCount, ...cut, self, total, baseSelf, baseTotal };
  }

  #child(parent: number, frame: number): number {
    const first = this.#firstOf[parent]!;
    if (first === 0) return (this.#firstOf[parent] = this.#newNode(parent, frame));
    if (this.#frameOf[first] === frame) return first;
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = slotOf(parent, frame) & mask;
    for (let node = slots[slot]!; node !== 0; node = slots[slot]!) {
      if (this.#parentOf[node] === parent && this.#frameOf[node] === frame) return node;
      slot = (slot + 1) & mask;
    }
    const node = this.#newNode(parent, frame);
    slots[slot] = node;
    // Half full at most, so that searches stay short.
    if (2 * ++this.#slotsUsed > slots.length) this.#growSlots();
    return node;
  }

  #newNode(parent: number, frame: number): number {
    const node = this.#nodeCount;
    if (node === nodesMax) throw new UnreadableProfile(`its call tree has more than ${nodesMax} nodes`);
    if (node === this.#self.length) this.reserve(2 * node);
    this.#nodeCount = node + 1;
    this.#parentOf[node] = parent;
    this.#frameOf[node] = frame;
    return node;
  }

  #growSlots(): void {
    const slots = new Uint32Array(2 * this.#slots.length);
    const mask = slots.length - 1;
    for (const node of this.#slots) {
      if (node === 0) continue;
      let slot = slotOf(this.#parentOf[node]!, this.#frameOf[node]!) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = node;
    }
    this.#slots = slots;
  }

  #growPath(depth: number): void {
    this.#lastFrames = grown(this.#lastFrames, new Uint32Array(2 * depth));
    this.#lastNodes = grown(this.#lastNodes, new Uint32Array(2 * depth));
  }
}

/** Two odd constants and a fold of the upper half: neighbouring numbers, which both are, must not end up in neighbouring slots. */
function slotOf(parent: number, frame: number): number {
  const hash = Math.imul(parent, 0x9e3779b1) ^ Math.imul(frame, 0x85ebca6b);
  return hash ^ (hash >>> 15);
}

export function grown<T extends Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** What a place in the code without a function name is called. */
export function addressName(address: number | bigint): string {
  return `0x${BigInt.asUintN(64, BigInt(address)).toString(16)}`;
}

/** What a profile without any sample type, which then has no samples, counts. */
export const noSampleType: SampleType = { type: 'samples', unit: 'count' };

/** The number of the sample type to show: the named one, else the profile's own default, else the last. -1 when the profile has none at all. */
export function sampleTypeIndex(types: readonly SampleType[], profileDefault: string, wanted?: string): number {
  if (wanted !== undefined) {
    const index = types.findIndex(({ type }) => type === wanted);
    if (index >= 0) return index;
    throw new RangeError(`the profile has no sample type ${wanted}, only: ${types.map(({ type }) => type).join(', ') || 'none'}`);
  }
  const index = types.findIndex(({ type }) => type === profileDefault);
  return index >= 0 ? index : types.length - 1;
}

/** Children of nodes as linked lists in the order of their numbers: `firstOf[node]`, then `nextOf[child]`, until 0. */
export interface Children {
  readonly firstOf: Uint32Array;
  readonly nextOf: Uint32Array;
}

/** The children of all nodes; with `weights`, only those of at least `weightMin`. */
export function childrenOf({ nodeCount, parentOf }: CallTree, weights?: Float64Array, weightMin = 0): Children {
  const firstOf = new Uint32Array(nodeCount);
  const nextOf = new Uint32Array(nodeCount);
  for (let node = nodeCount - 1; node > 0; node--) {
    if (weights !== undefined && weights[node]! < weightMin) continue;
    const parent = parentOf[node]!;
    nextOf[node] = firstOf[parent]!;
    firstOf[parent] = node;
  }
  return { firstOf, nextOf };
}
