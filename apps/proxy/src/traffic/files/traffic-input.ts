import type { ObjectStore } from '@binnacle/object-store/object-store';
import { openObjectStore } from '@binnacle/object-store/open-object-store';
import { createReadStream } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { S3StoreOptions } from '@binnacle/object-store/s3-store';
import { localFolder } from './traffic-destination.js';

/** A file below the input: in it, or in one of its folders. */
export interface InputFile {
  /** `traffic-1.log` or `node-1/traffic-1.log` */
  readonly path: string;
  readonly bytes: number;
}

/** Where captures are read from. */
export interface TrafficInput {
  readonly name: string;
  list(): Promise<InputFile[]>;
  /** The first bytes. */
  head(file: InputFile, bytes: number): Promise<Buffer>;
  read(file: InputFile): Readable;
  text(path: string): Promise<string>;
  close(): Promise<void>;
}

const pieceBytes = 256 * 1_024;
const objectPieceBytes = 4 * 2 ** 20;
/** Beyond that it is no folder of captures. */
const filesMax = 100_000;

export async function openInput(input: string, store: S3StoreOptions): Promise<TrafficInput> {
  return input.startsWith('s3://') ? new BucketInput(await openObjectStore({ ...store, url: input })) : new FolderInput(localFolder(input));
}

class FolderInput implements TrafficInput {
  constructor(readonly name: string) {}

  async list(): Promise<InputFile[]> {
    const files: InputFile[] = [];
    const visit = async (folder: string, prefix: string): Promise<void> => {
      for (const entry of await readdir(folder, { withFileTypes: true })) {
        const path = prefix + entry.name;
        if (files.length > filesMax) throw new Error(`${this.name} holds more than ${filesMax} files`);
        if (entry.isDirectory() && prefix === '') await visit(join(folder, entry.name), `${path}/`);
        else if (entry.isFile()) {
          const bytes = await bytesOf(join(folder, entry.name));
          if (bytes !== undefined) files.push({ path, bytes });
        }
      }
    };
    await visit(this.name, '');
    return files;
  }

  async head({ path }: InputFile, bytes: number): Promise<Buffer> {
    const file = await open(join(this.name, path));
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  }

  read({ path }: InputFile): Readable {
    return createReadStream(join(this.name, path), { highWaterMark: pieceBytes });
  }

  async text(path: string): Promise<string> {
    return await readFile(join(this.name, path), 'utf8');
  }

  async close(): Promise<void> {}
}

/** Undefined for a file that is gone: drafts are renamed while a folder is listed. */
async function bytesOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

class BucketInput implements TrafficInput {
  readonly name: string;

  constructor(private readonly store: ObjectStore) {
    this.name = store.url;
  }

  async list(): Promise<InputFile[]> {
    const files: InputFile[] = [];
    let listed = 0;
    for await (const { key, bytes } of this.store.list('')) {
      if (++listed > filesMax) throw new Error(`${this.name} holds more than ${filesMax} objects`);
      if (key.split('/').length <= 2) files.push({ path: key, bytes });
    }
    return files;
  }

  async head(file: InputFile, bytes: number): Promise<Buffer> {
    const length = Math.min(bytes, file.bytes);
    return length === 0 ? Buffer.alloc(0) : await this.store.getRange(file.path, { offset: 0, length });
  }

  read({ path, bytes }: InputFile): Readable {
    const { store } = this;
    const piece = (offset: number): Promise<Buffer> | undefined => {
      if (offset >= bytes) return undefined;
      const asked = store.getRange(path, { offset, length: Math.min(objectPieceBytes, bytes - offset) });
      // It is waited for later, or not at all.
      asked.catch(() => {});
      return asked;
    };
    // One piece is under way while the one before it is read.
    const pieces = async function* (): AsyncGenerator<Buffer> {
      let next = piece(0);
      for (let offset = objectPieceBytes; next !== undefined; offset += objectPieceBytes) {
        const current = await next;
        next = piece(offset);
        for (let at = 0; at < current.length; at += pieceBytes) yield current.subarray(at, at + pieceBytes);
      }
    };
    return Readable.from(pieces(), { objectMode: false });
  }

  async text(path: string): Promise<string> {
    return (await this.store.get(path))?.body.toString() ?? '';
  }

  async close(): Promise<void> {
    await this.store.close();
  }
}
