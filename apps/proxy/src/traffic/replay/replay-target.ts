import { createSecureContext } from 'node:tls';
import { utf8mb4GeneralCi } from '@binnacle/mysql-wire/charset';
import { lexerMode } from '@binnacle/mysql-wire/lexer';
import type { Backend } from '../../backends/backend.js';
import { readStoredFunctions } from '../../backends/server-facts.js';
import type { BackendDial } from '../../connection/greeted-backend.js';
import { MysqlError } from '../../connection/mysql-error.js';
import { openBackend } from './replay-connection.js';
import type { ReadingMode } from './replayed-statement.js';

/** Where a replay goes, and as whom. */
export interface ReplayTarget {
  readonly backend: Backend;
  readonly dial: BackendDial;
  readonly user: string;
  readonly password: string;
  /** For connecting and logging in, and for each question of the replay's own. */
  readonly timeoutMs: number;
}

/** What every session there begins with. */
export interface TargetFacts {
  readonly serverVersion: string;
  /** Of the global `sql_mode`, which `init_connect` may change. */
  readonly mode: ReadingMode;
  readonly storedFunctions: ReadonlySet<string>;
}

export function replayTarget(to: { readonly host: string; readonly port: number; readonly tls: boolean }, user: string, password: string, timeoutMs: number): ReplayTarget {
  const id = `${to.host}:${to.port}`;
  const backend: Backend = { id, host: to.host, port: to.port, cluster: 'default', kind: 'unknown', healthy: true, reason: '', draining: false, readOnly: false, group: id, labels: {} };
  const tls = to.tls ? ({ mode: 'required', context: createSecureContext(), verify: false } as const) : ({ mode: 'off', verify: false } as const);
  return { backend, dial: { tls }, user, password, timeoutMs };
}

/** Asks once, before anything is replayed. Rejects with `MysqlError` where the login is refused, and with `ConnectionLost`. */
export async function readTarget(target: ReplayTarget): Promise<TargetFacts> {
  const connection = await openBackend(target, utf8mb4GeneralCi, 0);
  try {
    const { rows } = await connection.query('SELECT @@global.sql_mode, @@global.init_connect', target.timeoutMs);
    const storedFunctions = await readStoredFunctions(connection, target.timeoutMs).catch((error: unknown) => {
      if (error instanceof MysqlError) return undefined;
      throw error;
    });
    const [sqlMode, initConnect] = (rows[0] ?? []).map((value) => value?.toString() ?? '');
    const mode = { ...lexerMode(sqlMode ?? ''), ansiDoubtful: initConnect !== '' };
    return { serverVersion: connection.serverVersion, mode, storedFunctions: storedFunctions ?? new Set() };
  } finally {
    connection.close();
  }
}
