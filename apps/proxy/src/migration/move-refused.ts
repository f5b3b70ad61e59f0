import type { MoveBlockerCode } from './move-blocker.js';

/** Reasons that only an attempt shows. */
export const attemptFailures = {
  target: 'the target does not take the session',
  variable: 'a system variable cannot have its value there',
  account: 'the user is another account there',
  capabilities: 'the target speaks another dialect of the protocol than the session was told',
  causality: 'the target has not yet seen all that the session may have seen',
  statement: 'a prepared statement is another one there',
  states: 'TiDB does not write the session down, or does not read it in',
  'not-equal': 'what was built there does not equal what the session has',
  login: 'the login on the target failed',
  lost: 'a connection was lost',
  'already-moving': 'the session is moving already',
} as const;

export type AttemptFailureCode = keyof typeof attemptFailures;

/** The session stays where it is, as it was. */
export class MoveRefused extends Error {
  override readonly name = 'MoveRefused';
  constructor(
    readonly code: MoveBlockerCode | AttemptFailureCode,
    /** A sentence for people, without secrets and without texts of statements. */
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
