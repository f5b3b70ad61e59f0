import { DeadlinePassed } from './deadline.js';
import { ObjectStoreUnavailable, ObjectStoreUnusable } from './object-store.js';

/** What the SDK rejects with, as far as it is looked at. It may also hold signatures and keys, so it is never handed on, not even as a cause. */
interface SdkError {
  readonly name?: string;
  readonly code?: string;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string; readonly attempts?: number };
}

export function s3Status(error: unknown): number | undefined {
  return (error as SdkError | undefined)?.$metadata?.httpStatusCode;
}

/** The condition did not hold, or another write of the key came in between (409). */
export function isConditionRefused(error: unknown): boolean {
  const status = s3Status(error);
  return status === 412 || (status === 409 && (error as SdkError).name === 'ConditionalRequestConflict');
}

/** An error in the words of the interface. What is not from the store (a file that cannot be read, a caller that gave up) stays as it is. */
export function s3Error(url: string, error: unknown): unknown {
  if (error instanceof DeadlinePassed) return new ObjectStoreUnavailable(`${url} did not answer in time: ${error.message}`);
  if (error instanceof ObjectStoreUnavailable) return error;
  const { name = 'Error', code, message = '', $metadata } = (error ?? {}) as SdkError;
  const status = $metadata?.httpStatusCode;
  if (name === 'CredentialsProviderError') {
    return new ObjectStoreUnusable(
      `no credentials for ${url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE), or give the machine a role`,
    );
  }
  if (message === 'Region is missing') return new ObjectStoreUnusable(`no region for ${url}: set remote.s3-region, or AWS_REGION`);
  if (name === 'NoSuchBucket') return new ObjectStoreUnusable(`there is no such bucket: ${url}`);
  if (status === 401 || status === 403) {
    return new ObjectStoreUnusable(
      `${url} denied access (${name}): check that the credentials are those of this store, that they may get, put, delete and list under ` +
        'this prefix (and abort multipart uploads), that remote.s3-region and remote.s3-endpoint fit the bucket, and that the clock of this machine is right',
    );
  }
  if (status === 301 || status === 307) return new ObjectStoreUnusable(`${url} is in another region or at another address: set remote.s3-region or remote.s3-endpoint`);
  if (status === 400 || status === 405 || status === 411 || status === 501) return new ObjectStoreUnusable(`${url} does not understand a request (${status} ${name})`);
  const isFromStore = $metadata !== undefined || code !== undefined || name === 'TimeoutError' || name === 'IncompleteBody';
  if (!isFromStore || name === 'AbortError') return error;
  const attempts = $metadata?.attempts === undefined ? '' : ` after ${$metadata.attempts} attempts`;
  return new ObjectStoreUnavailable(`${url} failed${attempts} (${[status, code, name].filter(Boolean).join(' ')})`);
}
