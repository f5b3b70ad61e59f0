import { SecretHints } from '@binnacle/mysql-wire/secret-hints';
import { accountSchema, mayHoldSecret, mayUseAccountSchema } from '@binnacle/mysql-wire/secret-statements';
import { isLexerSafeCollation } from '@binnacle/mysql-wire/charset';
import type { Session } from '../../session/session.js';

/** Why a command is not in a capture. */
export type LeftOut =
  /** It may hold a password or a key. */
  | 'secret'
  /** It has words that secrets have, and nobody can tell: it is long, or its character set allows no reading. */
  | 'doubtful'
  /** Its file is not captured. */
  | 'load-data'
  /** It executes, resets or closes a statement whose text was left out. */
  | 'of-left-out'
  | 'too-large'
  | 'replication';

/** Longer ones are not read closely: that would take all sessions some milliseconds. */
const readBytesMax = 262_144;
const load = /^\s*load\b/i;

/** One for all sessions of the thread. */
const ownHints = new SecretHints();

/** Whose statements are read. */
export interface Speaker {
  readonly session: Session;
  /** The schema of the accounts may be its database, whatever the session knows: not every server reports it. */
  usesAccountSchema: boolean;
}

/** Of a statement's text in one piece. */
export function whyLeftOut(speaker: Speaker, bytes: Buffer, start: number, end: number): LeftOut | undefined {
  ownHints.reset();
  ownHints.read(bytes, start, end);
  return ownHints.seen ? readClosely(speaker, bytes, start, end) : undefined;
}

/** Of one that has words which secrets have. */
export function readClosely(speaker: Speaker, bytes: Buffer, start: number, end: number): LeftOut | undefined {
  if (end - start > readBytesMax) {
    // One of its statements may be the USE that nobody reads.
    speaker.usesAccountSchema = true;
    return load.test(bytes.toString('latin1', start, start + 64)) ? 'load-data' : 'doubtful';
  }
  const text = bytes.toString('latin1', start, end);
  const { session } = speaker;
  const mode = isReadable(session) ? session.admission.lexerMode : undefined;
  const holdsSecret = mayHoldSecret(text, mode, speaker.usesAccountSchema ? accountSchema : session.database);
  if (mayUseAccountSchema(text)) speaker.usesAccountSchema = true;
  if (!holdsSecret) return undefined;
  if (load.test(text)) return 'load-data';
  return mode === undefined ? 'doubtful' : 'secret';
}

/** Longer beginnings of statements are comments. */
const beginningBytesMax = 1_024;
const ofData = /^[\s(]*(?:select|insert|update|delete|replace|with|values)\b/i;

/** Whether what is given for its parameters may come to be a statement itself: of a variable's value or a procedure's argument. */
export function mayBeExecuted(bytes: Buffer, start: number, end: number): boolean {
  return bytes.subarray(start, end).includes('@') || !ofData.test(bytes.toString('latin1', start, Math.min(end, start + beginningBytesMax)));
}

/** Whether values have words that secrets have. */
export function valuesHint(bytes: Buffer, start: number, end: number): boolean {
  ownHints.reset();
  ownHints.read(bytes, start, end);
  return ownHints.seen;
}

/** Whether its quotes are known: not behind a command that may change what they mean, and not in every character set. */
function isReadable({ responses, witness, state, client }: Session): boolean {
  if (responses.tracker.commandsPending > 1) return false;
  return witness.tracked ? !state.unsafeCharset : isLexerSafeCollation(client.collation);
}
