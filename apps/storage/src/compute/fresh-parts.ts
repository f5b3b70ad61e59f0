import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Rows of a region in a file of `fresh-format`: those of the versions after `from`, up to `to`, of the write node's log. */
export interface FreshPart {
  readonly path: string;
  readonly bytes: number;
  /** Of the longest row. */
  readonly lineBytes: number;
  readonly from: number;
  readonly to: number;
}

/** Parts that stay on the disk until `release`. */
export interface FreshPin {
  readonly parts: readonly FreshPart[];
  release(): void;
}

interface Kept extends FreshPart {
  uses: number;
  isDropped: boolean;
}

/** The rows of one region that are not in the bucket yet, as this compute node has them: files that are only added to and dropped. */
export class FreshParts {
  #parts: Kept[] = [];

  /** Everything after `from` is here, up to `to`. */
  constructor(
    private readonly folder: string,
    readonly from: number,
    public to: number = from,
  ) {}

  bytes(): number {
    return this.#parts.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** The rows after `this.to` up to `to`. */
  async add(rows: readonly Buffer[], to: number, lineBytes: number): Promise<void> {
    const bytes = rows.reduce((sum, { length }) => sum + length, 0);
    if (bytes > 0) this.#parts.push({ ...(await this.#write(rows, bytes)), lineBytes, from: this.to, to, uses: 0, isDropped: false });
    this.to = to;
    await this.#fold();
  }

  /** Parts with rows after `from`; they may also have older ones. */
  pin(from: number): FreshPin {
    const parts = this.#parts.filter(({ to }) => to > from);
    for (const part of parts) part.uses += 1;
    let isReleased = false;
    const release = (): void => {
      if (isReleased) return;
      isReleased = true;
      for (const part of parts) {
        part.uses -= 1;
        if (part.isDropped && part.uses === 0) void rm(part.path, { force: true });
      }
    };
    return { parts, release };
  }

  /** The bucket has everything up to this version. */
  dropUpTo(version: number): void {
    const dropped = this.#parts.filter(({ to }) => to <= version);
    this.#parts = this.#parts.filter(({ to }) => to > version);
    for (const part of dropped) this.#drop(part);
  }

  dropAll(): void {
    this.dropUpTo(Infinity);
  }

  /** A part becomes one with those before it that are not larger: there are few parts then, and each row is copied few times. */
  async #fold(): Promise<void> {
    let start = this.#parts.length - 1;
    let bytes = this.#parts[start]?.bytes ?? 0;
    for (let before = this.#parts[start - 1]; before !== undefined && before.bytes <= bytes; before = this.#parts[start - 1]) {
      bytes += before.bytes;
      start -= 1;
    }
    const old = this.#parts.slice(start);
    if (old.length < 2) return;
    for (const part of old) part.uses += 1;
    const rows = await Promise.all(old.map(({ path }) => readFile(path)));
    const [first, last] = [old[0] as Kept, old.at(-1) as Kept];
    const whole = { ...(await this.#write(rows, bytes)), lineBytes: Math.max(...old.map((part) => part.lineBytes)), from: first.from, to: last.to, uses: 0, isDropped: false };
    // What was dropped meanwhile may be in the new one again; that costs room, not truth: versions say what counts.
    this.#parts = [...this.#parts.filter((part) => !old.includes(part)), whole];
    for (const part of old) {
      part.uses -= 1;
      this.#drop(part);
    }
  }

  async #write(rows: readonly Buffer[], bytes: number): Promise<Pick<FreshPart, 'path' | 'bytes'>> {
    await mkdir(this.folder, { recursive: true });
    const path = join(this.folder, `${randomUUID()}.rows`);
    // Not synced: after a crash the folder is emptied and the rows are asked for again.
    await writeFile(path, rows);
    return { path, bytes };
  }

  #drop(part: Kept): void {
    part.isDropped = true;
    if (part.uses === 0) void rm(part.path, { force: true });
  }
}
