import { MysqlError } from '../connection/mysql-error.js';
import type { BackendConnection } from '../connection/backend-connection.js';
import type { SessionState } from './session-state.js';

/**
 * From here on the server reports every change of the session. What the session begins with is reported too, by setting it to what it is: strings end where
 * `sql_mode` and the character set say. One statement, so that a login becomes one round trip longer and no more.
 */
const arming =
  "SET SESSION session_track_system_variables='*', session_track_schema=ON, session_track_state_change=ON, " +
  "session_track_transaction_info='CHARACTERISTICS', sql_mode=@@sql_mode, character_set_client=@@character_set_client, " +
  'character_set_results=@@character_set_results';

/**
 * After a login that is to be movable, and again when `state.needsArming`. A server that has no such variables (TiDB does without, MySQL before 5.7.6 and MariaDB before
 * 10.2 know none) leaves the session as good as before, and not movable. Rejects with `ConnectionLost`.
 */
export async function armTrackers(backend: BackendConnection, state: SessionState, timeoutMs: number): Promise<void> {
  state.needsArming = false;
  if (backend.kind === 'tidb') return state.onArmed();
  try {
    const { ok } = await backend.query(arming, timeoutMs);
    if (ok !== undefined) state.onOk(ok);
    state.onArmed();
  } catch (error) {
    if (!(error instanceof MysqlError)) throw error;
    state.untrackable = true;
  }
}
