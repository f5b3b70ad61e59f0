import type * as Sdk from '@aws-sdk/client-s3';
import { open } from 'node:fs/promises';

const mebibyte = 2 ** 20;
const partBytesMin = 8 * mebibyte;
/** What S3 allows. */
const partsMax = 10_000;
/** In memory at a time: this many parts. */
const partsAtOnce = 4;
const abortTimeoutMs = 5_000;

export interface MultipartUpload {
  readonly Bucket: string;
  readonly Key: string;
  readonly Metadata: Record<string, string>;
}

/**
 * Uploads a file in parts. There is no condition: some servers that honour one on PUT ignore it where parts are put together (Ceph 16).
 * What went wrong leaves no parts behind, unless the process dies: a lifecycle rule of the bucket (abort incomplete multipart uploads after
 * a day) takes those. Resolves with the etag, if the server says it.
 */
export async function uploadInParts(
  sdk: typeof Sdk, client: Sdk.S3Client, target: MultipartUpload, file: { path: string; bytes: number }, signal: AbortSignal,
): Promise<string | undefined> {
  const { Bucket, Key } = target;
  const created = await client.send(new sdk.CreateMultipartUploadCommand(target), { abortSignal: signal });
  const upload = { Bucket, Key, UploadId: created.UploadId };
  try {
    const Parts = await sendParts(sdk, client, upload, file, signal);
    const complete = new sdk.CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } });
    return (await client.send(complete, { abortSignal: signal })).ETag;
  } catch (error) {
    await client.send(new sdk.AbortMultipartUploadCommand(upload), { abortSignal: AbortSignal.timeout(abortTimeoutMs) }).catch(() => {});
    throw error;
  }
}

async function sendParts(
  sdk: typeof Sdk, client: Sdk.S3Client, upload: { Bucket: string; Key: string; UploadId: string | undefined },
  { path, bytes }: { path: string; bytes: number }, caller: AbortSignal,
): Promise<Sdk.CompletedPart[]> {
  const partBytes = Math.max(partBytesMin, Math.ceil(bytes / partsMax));
  const parts: Sdk.CompletedPart[] = [];
  const partCount = Math.ceil(bytes / partBytes);
  const failed = new AbortController();
  const signal = AbortSignal.any([caller, failed.signal]);
  const file = await open(path);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < partCount) {
      const index = next++;
      const length = Math.min(partBytes, bytes - index * partBytes);
      const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, index * partBytes);
      if (bytesRead < length) throw new Error(`${path} became shorter while it was uploaded`);
      const command = new sdk.UploadPartCommand({ ...upload, PartNumber: index + 1, Body: buffer });
      const { ETag } = await client.send(command, { abortSignal: signal });
      parts[index] = { PartNumber: index + 1, ...(ETag === undefined ? {} : { ETag }) };
    }
  };
  try {
    const workers = Array.from({ length: partsAtOnce }, () => work().catch((error: unknown) => {
      failed.abort(error);
      throw error;
    }));
    // All have ended before the upload is aborted: a part that comes after that would stay.
    const results = await Promise.allSettled(workers);
    if (failed.signal.aborted) throw failed.signal.reason;
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    return parts;
  } finally {
    await file.close();
  }
}
