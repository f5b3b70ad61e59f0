import { mkdir, open, rename, rm, stat, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Span } from './mirror.js';
import type { PunchHole } from './punch-hole.js';

export interface Piece {
  readonly offset: number;
  readonly bytes: Buffer;
}

export const blockBytes = 4_096;
/** `st_blocks` counts these, whatever the file system's own blocks are. */
const statBlockBytes = 512;
const readBytesMax = 2 ** 20;

export const errorCode = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/** The sparse files of the cache: `files/{key of the segment}` in its folder. Nothing here is in memory, or decided. */
export class MirrorDisk {
  readonly files: string;

  constructor(
    folder: string,
    private readonly punchHole: PunchHole,
  ) {
    this.files = join(folder, 'files');
  }

  path(key: string): string {
    return join(this.files, key);
  }

  /** Creates the file, and its folder, when need be. Resolves to what the file takes on disk now. */
  async write(key: string, fileBytes: number, pieces: readonly Piece[]): Promise<number> {
    const file = await this.#openToWrite(key);
    try {
      if ((await file.stat()).size !== fileBytes) await file.truncate(fileBytes);
      for (const { offset, buffers } of runs(pieces)) await writeAll(file, buffers, offset);
      return await allocated(file);
    } finally {
      await file.close();
    }
  }

  /** Undefined: there is no such file, or it is shorter. */
  async checksum(key: string, offset: number, length: number): Promise<number | undefined> {
    let checksum = 0;
    const whole = await this.read(key, offset, length, (bytes) => (checksum = crc32(bytes, checksum)));
    return whole ? checksum : undefined;
  }

  /** Hands the bytes over in pieces, which it uses again. False: there is no such file, or it is shorter. */
  async read(key: string, offset: number, length: number, take: (bytes: Buffer, at: number) => unknown): Promise<boolean> {
    let file: FileHandle;
    try {
      file = await open(this.path(key), 'r');
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return false;
      throw error;
    }
    try {
      const buffer = Buffer.allocUnsafe(Math.min(length, readBytesMax));
      for (let at = offset; at < offset + length; ) {
        const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, offset + length - at), at);
        if (bytesRead === 0) return false;
        await take(buffer.subarray(0, bytesRead), at);
        at += bytesRead;
      }
      return true;
    } finally {
      await file.close();
    }
  }

  /** Undefined: there is no such file. */
  async allocatedBytes(key: string): Promise<number | undefined> {
    try {
      return (await stat(this.path(key))).blocks * statBlockBytes;
    } catch (error) {
      if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return undefined;
      throw error;
    }
  }

  /** Frees the blocks; `kept` is everything that has to stay. Resolves to what the file takes then. */
  async free(key: string, fileBytes: number, blocks: readonly Span[], kept: readonly Span[]): Promise<number> {
    let file: FileHandle;
    try {
      file = await open(this.path(key), 'r+');
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return 0;
      throw error;
    }
    try {
      for (const [start, end] of blocks) {
        if (!(await this.punchHole(file.fd, start, end - start))) return await this.#rewrite(key, fileBytes, file, kept);
      }
      return await allocated(file);
    } finally {
      await file.close();
    }
  }

  async remove(key: string): Promise<void> {
    await unlink(this.path(key)).catch((error: unknown) => {
      if (errorCode(error) !== 'ENOENT') throw error;
    });
  }

  /** Where holes cannot be punched. Who has the old file open keeps it; who opens the path gets the new one, which has all that is pinned. */
  async #rewrite(key: string, fileBytes: number, old: FileHandle, kept: readonly Span[]): Promise<number> {
    const path = `${this.path(key)}.new`;
    const file = await open(path, 'w');
    try {
      await file.truncate(fileBytes);
      const buffer = Buffer.allocUnsafe(readBytesMax);
      for (const [start, end] of kept) {
        for (let at = start; at < end; ) {
          const { bytesRead } = await old.read(buffer, 0, Math.min(buffer.length, end - at), at);
          if (bytesRead === 0) break; // The checksum will tell.
          await writeAll(file, [buffer.subarray(0, bytesRead)], at);
          at += bytesRead;
        }
      }
      await rename(path, this.path(key));
      return await allocated(file);
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    } finally {
      await file.close();
    }
  }

  async #openToWrite(key: string): Promise<FileHandle> {
    const path = this.path(key);
    try {
      return await open(path, 'r+');
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
    await mkdir(dirname(path), { recursive: true });
    return await open(path, 'w+');
  }
}

/** Pieces that follow each other are written at once. */
function* runs(pieces: readonly Piece[]): Generator<{ offset: number; buffers: Buffer[] }> {
  let run: { offset: number; end: number; buffers: Buffer[] } | undefined;
  for (const { offset, bytes } of pieces) {
    if (run !== undefined && run.end === offset) {
      run.buffers.push(bytes);
      run.end += bytes.length;
      continue;
    }
    if (run !== undefined) yield run;
    run = { offset, end: offset + bytes.length, buffers: [bytes] };
  }
  if (run !== undefined) yield run;
}

/** `writev` may write less than it was given, and says so without an error on a disk that gets full. */
async function writeAll(file: FileHandle, buffers: readonly Buffer[], offset: number): Promise<void> {
  let at = offset;
  let rest = [...buffers];
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest.slice(0, 1_024), at);
    if (bytesWritten === 0) throw Object.assign(new Error('nothing was written'), { code: 'ENOSPC' });
    at += bytesWritten;
    let written = bytesWritten;
    while (rest[0] !== undefined && written >= rest[0].length) {
      written -= rest[0].length;
      rest = rest.slice(1);
    }
    if (rest[0] !== undefined && written > 0) rest[0] = rest[0].subarray(written);
  }
}

const allocated = async (file: FileHandle): Promise<number> => (await file.stat()).blocks * statBlockBytes;
