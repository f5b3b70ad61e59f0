import type { LoggedInClient } from '../connection/client-connection.js';
import type { BackendConnection } from '../connection/backend-connection.js';
import type { Credential } from '../connection/credentials.js';
import type { StatementIds } from '../session/statement-ids.js';
import type { SessionState } from './session-state.js';

/** What a migration needs of `Session`. */
export interface MovableSession {
  readonly id: number;
  readonly client: LoggedInClient;
  readonly backend: BackendConnection;
  readonly state: SessionState;
  /** Undefined: nothing can log this user in again. */
  readonly credential: Credential | undefined;
  /** Forwarding stands still, and client bytes are kept back. */
  readonly phase: string;
  /**
   * Stops forwarding at the first command boundary at which `when` (asked at each one, and at once if at one) is true. Rejects with 'busy' at the deadline,
   * when the session closes meanwhile too, and forwarding has gone on as if nothing had been asked. Without such a test a session that is busy with short
   * transactions would be caught within one nearly every time.
   */
  hold(timeoutMs: number, when: () => boolean): Promise<void>;
  resume(): void;
  readonly statementIds: Pick<StatementIds, 'backendId'>;
  swap(next: BackendConnection, statements: Map<number, number>): void;
}
