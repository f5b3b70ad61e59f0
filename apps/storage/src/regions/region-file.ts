import { syncFolder } from '@binnacle/node-kit/sync-folder';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** A region whose rows are in this data folder. Positions are versions of the commit log here; versions of a region are its base plus a position. */
export interface LoadedRegion {
  readonly tableId: number;
  readonly index: number;
  readonly regionCount: number;
  readonly term: number;
  /** Undefined: the region's manifest was never claimed by this node, whose versions then begin with the log's. */
  readonly versionBase?: number;
  /** Up to this position its rows came from segments. 0: the region began here. */
  readonly segmentsEnd: number;
  /** Up to this position they came from segments or from the log objects of the nodes before. */
  readonly loadedTo: number;
  /** Of the manifest that was taken over. */
  readonly uploadedBefore: number;
  /** The take-over may not be published yet: until it is, the region takes no writes. */
  readonly isPending?: true;
}

/** A region that went to another node while there were rows of it here that may be nowhere else. */
export interface FormerRegion {
  readonly regionId: number;
  readonly tableId: number;
  readonly index: number;
  readonly regionCount: number;
  /** In which this node had it. */
  readonly term: number;
  readonly versionBase: number;
  /** Up to this position its rows came from the remote store. */
  readonly loadedTo: number;
  /** The last position with a row of it that a client wrote here. */
  readonly toPosition: number;
}

interface Content {
  readonly format: 1;
  readonly isOld: boolean;
  readonly loaded: readonly (readonly [regionId: number, LoadedRegion])[];
  readonly former: readonly FormerRegion[];
}

/**
 * `storage/regions.json`: what of the regions the data folder has. It is on disk before a region takes its first write here, so that a folder without
 * an entry for a region holds nothing of it that was acknowledged, and may load it from the remote store.
 */
export class RegionFile {
  readonly loaded = new Map<number, LoadedRegion>();
  former: FormerRegion[] = [];
  /** The folder is from before it said which regions it has: what is not named may be here all the same. */
  isOld = false;
  /** Settles, and never rejects, with the write that began last. */
  #last: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  private constructor(
    private readonly path: string,
    /** There was a file. */
    readonly isKnown: boolean,
  ) {}

  /** Rejects on a file that is damaged: what the folder has is not known then. */
  static async open(path: string): Promise<RegionFile> {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    const file = new RegionFile(path, text !== undefined);
    if (text === undefined) return file;
    const content = JSON.parse(text) as Partial<Content> | null;
    if (content?.format !== 1 || !Array.isArray(content.loaded) || !Array.isArray(content.former)) throw new Error(`${path} is damaged, or of another version`);
    for (const [id, region] of (content as Content).loaded) file.loaded.set(id, region);
    file.former = [...(content as Content).former];
    file.isOld = content.isOld === true;
    return file;
  }

  /** Resolves once everything as it is now is on disk; who asks while one is written shares the next. */
  save(): Promise<void> {
    this.#next ??= this.#last.then(() => {
      this.#next = undefined;
      const content: Content = { format: 1, isOld: this.isOld, loaded: [...this.loaded], former: this.former };
      const written = writeDurably(this.path, JSON.stringify(content));
      this.#last = written.catch(() => undefined);
      return written;
    });
    return this.#next;
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const written = `${path}.new`;
  await writeFile(written, text, { flush: true });
  await rename(written, path);
  await syncFolder(dirname(path));
}
