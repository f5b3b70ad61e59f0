import { readFileSync, statSync } from 'node:fs';
import type { Clock } from '@binnacle/cluster-state/clock';
import { parseNativeHash } from '@binnacle/mysql-wire/auth/native-password';
import { ConfigError } from '@binnacle/node-kit/config-error';
import type { Logger } from 'pino';
import { parse, TomlError } from 'smol-toml';

/** A password, or the hash of one as `mysql_native_password` servers store it: SHA1(SHA1(password)). */
export type UserSecret = { readonly kind: 'password'; readonly password: string } | { readonly kind: 'hash'; readonly hash: Buffer };

/** The file is not as it should be. The message names users and lines, never a secret. */
export class UsersFileError extends Error {
  override readonly name = 'UsersFileError';
}

const usersMax = 100_000;

/**
 * Reads the users file, TOML:
 *
 *     [users]
 *     app = "its password"
 *     report = "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"    # as in mysql.user: SELECT PASSWORD('...')
 *     odd = { password = "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19" }    # a password that looks like a hash
 *
 * @throws UsersFileError
 */
export function parseUsersFile(text: string): ReadonlyMap<string, UserSecret> {
  const entries = Object.entries(usersTable(text));
  if (entries.length > usersMax) throw new UsersFileError(`the users file has more than ${usersMax} users`);
  return new Map(entries.map(([user, value]) => [user, secretOf(user, value)]));
}

function usersTable(text: string): object {
  let document: Record<string, unknown>;
  try {
    document = parse(text);
  } catch (error) {
    // The parser's own message quotes the line, and with it the secret.
    const place = error instanceof TomlError ? ` at line ${error.line}, column ${error.column}` : '';
    throw new UsersFileError(`the users file is not TOML${place}`);
  }
  const { users = {}, ...others } = document;
  const [other] = Object.keys(others);
  if (other !== undefined) throw new UsersFileError(`the users file has the table or key "${other}"; it has one table, [users]`);
  if (typeof users !== 'object' || users === null || Array.isArray(users)) throw new UsersFileError('"users" in the users file is no table');
  return users;
}

function secretOf(user: string, value: unknown): UserSecret {
  const given = typeof value === 'object' && value !== null ? (value as { password?: unknown }).password : value;
  if (typeof given !== 'string') throw new UsersFileError(`user "${user}" in the users file has no password: a string, or { password = "..." }`);
  if (typeof value !== 'string' || !given.startsWith('*')) return { kind: 'password', password: given };
  const hash = parseNativeHash(given);
  if (hash === undefined) {
    throw new UsersFileError(`user "${user}" in the users file: behind the * of a hash there are 40 hexadecimal digits; a password that begins so is { password = "..." }`);
  }
  return { kind: 'hash', hash };
}

/** What has changed counts this long after, at the latest. */
const lookAgainMs = 10_000;

/** The users file, current without a restart: it is looked at again when asked for. One that cannot be read leaves the last good one in effect. */
export class UsersFile {
  #lookedAtMs = -Infinity;
  #stamp = '';
  #users: ReadonlyMap<string, UserSecret> = new Map();

  /** @param file empty: there is none */
  constructor(
    private readonly file: string,
    private readonly clock: Clock,
    private readonly log: Logger,
  ) {}

  /** Throws `ConfigError` on a file that cannot be used. */
  check(): void {
    try {
      this.#load();
    } catch (error) {
      throw new ConfigError([`proxy.users-file ${this.file} cannot be used: ${(error as Error).message}`]);
    }
  }

  get users(): ReadonlyMap<string, UserSecret> {
    const nowMs = this.clock.monotonicMs();
    if (nowMs - this.#lookedAtMs < lookAgainMs) return this.#users;
    this.#lookedAtMs = nowMs;
    try {
      this.#load();
    } catch (error) {
      this.log.error({ err: error }, 'proxy.users-file cannot be used: the last good one stays in effect');
    }
    return this.#users;
  }

  #load(): void {
    if (this.file === '') return;
    const { mtimeMs, size, ino } = statSync(this.file);
    const stamp = `${mtimeMs} ${size} ${ino}`;
    if (stamp === this.#stamp) return;
    this.#users = parseUsersFile(readFileSync(this.file, 'utf8'));
    this.#stamp = stamp;
  }
}
