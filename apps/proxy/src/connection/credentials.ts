import { timingSafeEqual } from 'node:crypto';
import { cachingSha2Password, sha2Reply, sha2Stage1 } from '@binnacle/mysql-wire/auth/caching-sha2-password';
import { nativePassword, nativeReply, nativeStage1, verifyNative } from '@binnacle/mysql-wire/auth/native-password';
import type { Backend } from '../backends/backend.js';
import type { UserSecret } from './users-file.js';

/**
 * What logs a user in at another server without the client. All of it is as secret as the password: it stays in this process's memory, and
 * is never logged, shown or sent to anyone but a backend.
 */
export type Credential =
  /** Empty for a user without a password. */
  | { readonly kind: 'password'; readonly password: string }
  /** SHA1(password): enough for mysql_native_password and nothing else. */
  | { readonly kind: 'native'; readonly stage1: Buffer }
  /** `Session_token` of SHOW SESSION_STATES: good for one TiDB cluster and a minute. */
  | { readonly kind: 'tidb-token'; readonly token: Buffer };

/** Users whose passwords a full authentication has shown; the one not seen longest is forgotten first. */
const learnedUsersMax = 10_000;

function same(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Whether a client that knows this password has sent this reply; false for plugins of which a reply says nothing. */
function proves(password: string, plugin: string, scramble: Buffer, reply: Buffer): boolean {
  if (plugin === nativePassword) return password === '' ? reply.length === 0 : same(reply, nativeReply(nativeStage1(password), scramble));
  if (plugin !== cachingSha2Password) return false;
  if (password === '') return isEmptyReply(plugin, reply);
  return same(reply, sha2Reply(sha2Stage1(password), scramble));
}

/** What clients send who have no password; of caching_sha2_password some send a NUL. */
export function isEmptyReply(plugin: string, reply: Buffer): boolean {
  if (plugin !== nativePassword && plugin !== cachingSha2Password) return false;
  return reply.length === 0 || (plugin === cachingSha2Password && reply.length === 1 && reply[0] === 0);
}

/** Asked anew each time: both change while sessions come. */
export interface CredentialSources {
  readonly users: ReadonlyMap<string, UserSecret>;
  /** Whether to keep what logins show: `proxy.keep-credentials`. */
  readonly keep: boolean;
  /** What a backend stores of a user's passwords for mysql_native_password. */
  readonly storedHashes?: (backend: Backend, user: string) => Promise<readonly Buffer[]>;
}

/** The users file, and what logins have shown. */
export class Credentials {
  readonly #sources: CredentialSources;
  readonly #learned = new Map<string, string>();

  constructor(sources: CredentialSources) {
    this.#sources = sources;
  }

  /** Once it is turned off, what was kept so far is forgotten; sessions keep theirs. */
  #learnedOf(user: string): string | undefined {
    if (!this.#sources.keep) this.#learned.clear();
    return this.#learned.get(user);
  }

  /** What the reply proves that the client knows: that logs it in elsewhere. Undefined if nothing here has to do with the reply, or the reply is wrong. */
  provenBy(user: string, plugin: string, scramble: Buffer, reply: Buffer): Credential | undefined {
    const secret = this.#sources.users.get(user);
    if (secret?.kind === 'hash' && plugin === nativePassword) {
      const stage1 = verifyNative(reply, scramble, secret.hash);
      if (stage1 !== undefined) return { kind: 'native', stage1 };
    }
    if (secret?.kind === 'password' && proves(secret.password, plugin, scramble, reply)) return secret;
    const learned = this.#learnedOf(user);
    return learned !== undefined && proves(learned, plugin, scramble, reply) ? { kind: 'password', password: learned } : undefined;
  }

  /** As `provenBy`, for a reply that this backend has just accepted: what it stores itself may be asked for, if secrets are to be kept. */
  async acceptedBy(backend: Backend, user: string, plugin: string, scramble: Buffer, reply: Buffer): Promise<Credential | undefined> {
    const proven = this.provenBy(user, plugin, scramble, reply);
    if (proven !== undefined || plugin !== nativePassword || !this.#sources.keep) return proven;
    for (const hash of (await this.#sources.storedHashes?.(backend, user)) ?? []) {
      const stage1 = verifyNative(reply, scramble, hash);
      if (stage1 !== undefined) return { kind: 'native', stage1 };
    }
    return undefined;
  }

  /** A backend has accepted this password, which the client told in full. */
  shown(user: string, password: string): Credential | undefined {
    const secret = this.#sources.users.get(user);
    if (secret?.kind === 'password' && secret.password === password) return secret;
    if (!this.#sources.keep) return undefined;
    this.#learned.delete(user);
    this.#learned.set(user, password);
    if (this.#learned.size > learnedUsersMax) this.#learned.delete(this.#learned.keys().next().value!);
    return { kind: 'password', password };
  }
}
