import { syncFolder } from '@binnacle/node-kit/sync-folder';
import { type FileHandle, mkdir, open, readdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';

/*
 * A segment is a file named after its first version (20 digits, so that names sort as versions do): a head, then frames.
 * Head, little-endian:  8 bytes "BINNALOG" | u32 format version | u32 0 | u64 first version | u32 crc of the 24 bytes before it.
 */
const magic = 'BINNALOG';
const formatVersion = 1;
export const segmentHeadBytes = 28;
const namePattern = /^(\d{20})\.log$/;
/** Of one writev; Linux takes 1024. */
const buffersPerWriteMax = 1024;

export interface SegmentName {
  readonly path: string;
  readonly firstVersion: number;
}

/** The segments of a folder, oldest first. */
export async function listSegments(folder: string): Promise<SegmentName[]> {
  const found: SegmentName[] = [];
  for (const name of await readdir(folder)) {
    const match = namePattern.exec(name);
    if (match) found.push({ path: join(folder, name), firstVersion: Number(match[1]) });
  }
  return found.sort((a, b) => a.firstVersion - b.firstVersion);
}

/** Why this is not the head of that segment; undefined when it is. */
export function segmentHeadFault(head: Buffer, firstVersion: number): string | undefined {
  if (head.length < segmentHeadBytes) return 'the head is cut short';
  if (head.toString('latin1', 0, 8) !== magic || head.readUInt32LE(24) !== crc32(head.subarray(0, 24))) return 'the head is not that of a log segment';
  const format = head.readUInt32LE(8);
  if (format !== formatVersion) return `its format is ${format}, and this version of Binnacle knows ${formatVersion}`;
  return Number(head.readBigUInt64LE(16)) === firstVersion ? undefined : 'its name does not tell its first version';
}

/** Makes the folder, and that it is there durable: a power cut must not take the whole log with its name. */
export async function makeLogFolder(folder: string): Promise<void> {
  const topmost = await mkdir(folder, { recursive: true });
  if (topmost === undefined) return;
  for (let parent = dirname(folder); ; parent = dirname(parent)) {
    await syncFolder(parent);
    if (parent === dirname(topmost)) return;
  }
}

/** Removes a segment for good. */
export async function removeSegment({ path }: Pick<SegmentName, 'path'>): Promise<void> {
  await unlink(path);
  await syncFolder(dirname(path));
}

/** The end of the log, open for writing. Knows nothing of frames: bytes go to the end, or nothing of them stays. */
export class LogSegment {
  private constructor(
    readonly path: string,
    readonly firstVersion: number,
    private readonly handle: FileHandle,
    private end: number,
  ) {}

  /** The head and the name are on disk when this resolves. A failure leaves no file. */
  static async create(folder: string, firstVersion: number): Promise<LogSegment> {
    const path = join(folder, `${String(firstVersion).padStart(20, '0')}.log`);
    const head = Buffer.alloc(segmentHeadBytes);
    head.write(magic, 'latin1');
    head.writeUInt32LE(formatVersion, 8);
    head.writeBigUInt64LE(BigInt(firstVersion), 16);
    head.writeUInt32LE(crc32(head.subarray(0, 24)), 24);
    const handle = await open(path, 'wx', 0o600);
    const segment = new LogSegment(path, firstVersion, handle, 0);
    try {
      await segment.append([head]);
      await segment.sync();
      await syncFolder(folder);
    } catch (error) {
      await handle.close();
      await unlink(path).catch(() => undefined);
      throw error;
    }
    return segment;
  }

  /** Goes on at `end`; what the file holds beyond it is cut off. All that stays is on disk when this resolves. */
  static async reopen({ path, firstVersion }: SegmentName, end: number): Promise<LogSegment> {
    const handle = await open(path, 'r+');
    await handle.truncate(end);
    await handle.sync();
    return new LogSegment(path, firstVersion, handle, end);
  }

  bytes(): number {
    return this.end;
  }

  /** Rejects with what the file system says; then some of the bytes may lie beyond the end, for `cut` to remove. */
  async append(buffers: readonly Buffer[]): Promise<void> {
    let position = this.end;
    for (let from = 0; from < buffers.length; from += buffersPerWriteMax) {
      let rest = buffers.slice(from, from + buffersPerWriteMax);
      while (rest.length > 0) {
        const { bytesWritten } = await this.handle.writev(rest, position);
        position += bytesWritten;
        rest = withoutHead(rest, bytesWritten);
      }
    }
    this.end = position;
  }

  async sync(): Promise<void> {
    await this.handle.datasync();
  }

  /** Removes what a failed `append` left behind. */
  async cut(): Promise<void> {
    await this.handle.truncate(this.end);
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

/** A write may take only a part, on a full disk above all. */
function withoutHead(buffers: readonly Buffer[], bytes: number): Buffer[] {
  let left = bytes;
  let index = 0;
  while (index < buffers.length && left >= (buffers[index] as Buffer).length) left -= (buffers[index++] as Buffer).length;
  const rest = buffers.slice(index);
  if (left > 0) rest[0] = (rest[0] as Buffer).subarray(left);
  return rest;
}
