import { parseNativeHash } from '@binnacle/mysql-wire/auth/native-password';
import { utf8mb4GeneralCi } from '@binnacle/mysql-wire/charset';
import type { Clock } from '@binnacle/cluster-state/clock';
import type { Logger } from 'pino';
import type { Backend } from '../backends/backend.js';
import { dialBackend } from './backend-connection.js';
import type { BackendDial } from './greeted-backend.js';

export interface HashReader {
  /** An account that may read `mysql.user`; without one nothing is asked. */
  readonly user: string;
  readonly password: string;
  readonly dial: BackendDial;
}

/** A login waits for it, the first one of a user in a minute; a server that takes longer leaves the session where it is. */
const timeoutMs = 1_000;
const keptMs = 60_000;
/** Users asked for within `keptMs`: beyond that the oldest is asked for again. */
const usersMax = 10_000;

interface Asked {
  readonly atMs: number;
  readonly hashes: Promise<readonly Buffer[]>;
}

/**
 * The hashes of mysql_native_password as servers store them, for users whom such a server has just let in. With one of them, what the client has sent
 * gives what logs it in elsewhere; without the client's reply it gives nothing.
 */
export class StoredHashes {
  readonly #asked = new Map<string, Asked>();

  constructor(
    private readonly reader: () => HashReader,
    private readonly clock: Clock,
    private readonly log: Logger,
  ) {}

  /** Of all accounts of this name, whatever their host. Never rejects: what cannot be found out is not there. */
  of(backend: Backend, user: string): Promise<readonly Buffer[]> {
    const reader = this.reader();
    if (reader.user === '') return Promise.resolve([]);
    const key = `${backend.cluster}\n${user}`;
    const nowMs = this.clock.monotonicMs();
    const known = this.#asked.get(key);
    if (known !== undefined && nowMs - known.atMs < keptMs) return known.hashes;
    const hashes = ask(backend, user, reader).catch((error: unknown) => {
      this.log.warn({ err: error, backend: backend.id }, 'the health user cannot read mysql.user: sessions of mysql_native_password users stay where they are');
      return [];
    });
    this.#asked.delete(key);
    this.#asked.set(key, { atMs: nowMs, hashes });
    if (this.#asked.size > usersMax) this.#asked.delete(this.#asked.keys().next().value!);
    return hashes;
  }
}

async function ask(backend: Backend, user: string, reader: HashReader): Promise<readonly Buffer[]> {
  const account = { user: reader.user, database: '', collation: utf8mb4GeneralCi, attributes: [['program_name', 'binnacle-logins']] as const };
  const credential = { kind: 'password', password: reader.password } as const;
  const connection = await dialBackend(backend, { ...reader.dial, ...account, capabilities: { capabilities: 0, mariadbCapabilities: 0 }, credential }, timeoutMs);
  try {
    // In hexadecimal nothing of a name can be taken for SQL, whatever the mode.
    const name = Buffer.from(user).toString('hex');
    const { rows } = await connection.query(`SELECT authentication_string FROM mysql.user WHERE User = CONVERT(X'${name}' USING utf8mb4)`, timeoutMs);
    return rows.flatMap(([text]) => parseNativeHash(text?.toString() ?? '') ?? []);
  } finally {
    connection.close();
  }
}
