/** Versions of a region that became durable within one look at the log. */
export interface Mark {
  readonly first: number;
  readonly last: number;
  /** Not later than `first` was acknowledged, on a monotonic clock. */
  readonly atMs: number;
}

interface Marks {
  list: Mark[];
  /** The newest that was forgotten. */
  forgotten: Mark | undefined;
}

/** Of one region: 128 looks at half a second each are a minute told exactly, twice what an upload takes; then the oldest ones become one. */
const marksMax = 128;
/** Of those that are in the bucket: a replica that is behind by a few looks is told exactly by how much. */
const uploadedMarksMax = 16;

/** Where in the log of this node, and when, the regions were written to: enough to say whether anything is pending, and since when. */
export class RegionMarks {
  readonly #regions = new Map<number, Marks>();

  /** Versions only grow. */
  add(regionId: number, mark: Mark): void {
    let marks = this.#regions.get(regionId);
    if (marks === undefined) this.#regions.set(regionId, (marks = { list: [], forgotten: undefined }));
    marks.list.push(mark);
    if (marks.list.length <= marksMax) return;
    const [oldest, second, ...rest] = marks.list as [Mark, Mark, ...Mark[]];
    marks.list = [{ ...oldest, last: second.last }, ...rest];
  }

  /** The bucket has everything up to this version. */
  uploaded(regionId: number, version: number): void {
    const marks = this.#regions.get(regionId);
    if (marks === undefined) return;
    const pending = marks.list.findIndex(({ last }) => last > version);
    const gone = (pending < 0 ? marks.list.length : pending) - uploadedMarksMax;
    if (gone > 0) marks.forgotten = marks.list.splice(0, gone).at(-1);
  }

  /** The first mark with versions after this one, or one that is not younger and begins no later. */
  after(regionId: number, version: number): Mark | undefined {
    const marks = this.#regions.get(regionId);
    if (marks?.forgotten !== undefined && version < marks.forgotten.last) return { ...marks.forgotten, first: version + 1 };
    return marks?.list.find(({ last }) => last > version);
  }

  regions(): Iterable<number> {
    return [...this.#regions.keys()];
  }

  drop(regionId: number): void {
    this.#regions.delete(regionId);
  }
}
