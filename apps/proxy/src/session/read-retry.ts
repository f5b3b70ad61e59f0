import { queryTextStart } from '@binnacle/mysql-wire/query-text';
import { isLexerSafeCollation } from '@binnacle/mysql-wire/charset';
import { lexerMode } from '@binnacle/mysql-wire/lexer';
import { StatusFlag } from '@binnacle/mysql-wire/status-flags';
import { asksForInsertId, asksForLast } from '../migration/forgotten.js';
import type { SessionState } from '../migration/session-state.js';

/** What reads and locks nothing, but for the functions and views it calls. */
const select = /^\s*select\b/i;
const locks = /\bfor\s+(?:update|share)\b|\block\s+in\s+share\s+mode\b/i;

/**
 * Whether a COM_QUERY may be sent again where its backend died before a byte of the answer had come: one SELECT outside transactions that leaves nothing
 * behind, calls nothing unknown, and asks nothing of what only the old backend knew.
 */
export function isRetryable(state: SessionState, payload: Buffer, start: number, end: number): boolean {
  const { capabilities, collation, examiner, storedFunctions } = state.options;
  const { autocommit, inTransaction } = StatusFlag;
  if ((state.statusFlags & (autocommit | inTransaction)) !== autocommit || state.statusDoubtful || !isLexerSafeCollation(collation)) return false;
  const text = payload.toString('latin1', queryTextStart(payload, capabilities, start, end), end);
  if (!select.test(text) || locks.test(text) || asksForLast(text) || asksForInsertId(text)) return false;
  return examiner.examine(text, lexerMode(state.sqlMode), storedFunctions()).ordinary;
}
