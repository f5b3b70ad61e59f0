import { createHash } from 'node:crypto';
import { commandName } from '@binnacle/mysql-wire/command';
import { statementDigest } from '@binnacle/mysql-wire/digest';
import type { LexerMode } from '@binnacle/mysql-wire/lexer';
import { statementNature, type StatementNature } from '@binnacle/mysql-wire/read-only';
import { sessionEffects } from '@binnacle/mysql-wire/session-effects';
import { statementLexemes } from '@binnacle/mysql-wire/statement-lexemes';
import { statementKind, type StatementKind } from '@binnacle/mysql-wire/statement-kind';
import { LRUCache } from 'lru-cache';
import { statementShape } from '../../migration/statement-shape.js';
import { parseKill, type KillStatement } from '../../session/kill-statement.js';

/** What a replay has to know of a statement; the same object for all that differ in nothing that matters. */
export interface ReplayedStatement extends StatementNature {
  readonly digest: string;
  /** Without its values. */
  readonly text: string;
  readonly kind: StatementKind;
  /** A KILL and nothing else, of a number that is understood. */
  readonly kill: KillStatement | undefined;
  /** One of its statements, or what it prepares, may be a KILL. */
  readonly kills: boolean;
  /** The same of SHUTDOWN and the like. */
  readonly endsServer: boolean;
  /** Its session is another one afterwards, beyond what its transaction does. */
  readonly leavesState: boolean;
}

/** How a session reads its texts. */
export interface ReadingMode extends LexerMode {
  /** Whether ANSI_QUOTES is on is not known: a text must be read-only in both ways. */
  readonly ansiDoubtful: boolean;
}

/** Of a text and its digest's text some 4 KB each: at most 32 MB. */
const statementsMax = 4_096;
const keyCharactersMax = 2_048;
/** In these no string and no number decides what a statement does. */
const shapedKinds: ReadonlySet<StatementKind> = new Set(['select', 'insert', 'update', 'delete', 'replace']);
const killWords = /^kill$/;
const endWords = /^(?:shutdown|restart)$/;

/** Examines texts, and remembers those that come again and again. One for a whole replay. */
export class ReplayedStatements {
  readonly #known = new LRUCache<string, ReplayedStatement>({ max: statementsMax });
  readonly #ofCommands = new Map<string, ReplayedStatement>();

  constructor(private readonly storedFunctions: ReadonlySet<string>) {}

  of(payload: Buffer, start: number, end: number, mode: ReadingMode): ReplayedStatement {
    const shape = statementShape(payload, start, end);
    const byShape = shape === undefined ? undefined : this.#known.get(`s${shape}`);
    if (byShape !== undefined) return byShape;
    const text = payload.toString('utf8', start, end);
    const key = `t${mode.ansiQuotes ? 1 : 0}${mode.noBackslashEscapes ? 1 : 0}${mode.ansiDoubtful ? 1 : 0}${text}`;
    const known = key.length > keyCharactersMax ? undefined : this.#known.get(key);
    if (known !== undefined) return known;
    const statement = this.#examine(text, mode);
    // The kind is that of the first statement: another one behind it may say anything in its strings.
    if (shape !== undefined && shapedKinds.has(statement.kind) && !text.includes(';')) this.#known.set(`s${shape}`, statement);
    else if (key.length <= keyCharactersMax) this.#known.set(key, statement);
    return statement;
  }

  #examine(text: string, mode: ReadingMode): ReplayedStatement {
    const nature = statementNature(text, mode, this.storedFunctions);
    const other = mode.ansiDoubtful && text.includes('"') ? statementNature(text, { ...mode, ansiQuotes: !mode.ansiQuotes }, this.storedFunctions) : nature;
    const digested = statementDigest(text, mode);
    const kind = statementKind(text, mode);
    return {
      ...nature, ...digested, kind, refusal: nature.refusal ?? other.refusal, kill: parseKill(text, mode),
      kills: begins(text, mode, killWords, /\bkill\b/i), endsServer: begins(text, mode, endWords, /\b(?:shutdown|restart)\b/i),
      leavesState: !shapedKinds.has(kind) || sessionEffects(text, mode).effects.size > 0,
    };
  }

  /** Of a command that is no statement of its own: COM_PING, or the preparation of a statement. */
  ofCommand(command: number, statement?: ReplayedStatement): ReplayedStatement {
    const text = statement === undefined ? commandName(command) : `${commandName(command)}: ${statement.text}`;
    const key = `c${command}${statement?.digest ?? ''}`;
    const known = statement === undefined ? this.#ofCommands.get(key) : this.#known.get(key);
    if (known !== undefined) return known;
    const digest = createHash('sha256').update(key).digest('hex');
    const made: ReplayedStatement = {
      refusal: undefined, hasOrder: false, changesByNature: statement === undefined, kind: 'other', kill: undefined, kills: false, endsServer: false,
      leavesState: false, ...statement, digest, text,
    };
    if (statement === undefined) this.#ofCommands.set(key, made);
    else this.#known.set(key, made);
    return made;
  }
}

/** Whether one of the statements begins so; `anywhere` is enough where a text is prepared, or cannot be read. */
function begins(text: string, mode: LexerMode, word: RegExp, anywhere: RegExp): boolean {
  if (!anywhere.test(text)) return false;
  const lexed = statementLexemes(text, mode);
  if (lexed === undefined || lexed.versionComment) return true;
  return lexed.statements.some((lexemes) => {
    const first = lexemes.find((lexeme) => lexeme.text !== '(')?.text ?? '';
    return word.test(first) || first === 'prepare' || first === 'execute' || first === 'begin';
  });
}
