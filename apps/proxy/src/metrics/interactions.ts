import type { LexerMode } from '@binnacle/mysql-wire/lexer';
import { commandName } from '@binnacle/mysql-wire/command';
import { statementDigest } from '@binnacle/mysql-wire/digest';
import type { Logger } from 'pino';
import type { SettingsView } from '../settings/proxy-settings.js';
import { globMatches } from '../glob.js';

/** Lines a second; a backend that hangs must not fill the disk. */
const linesPerSecondMax = 100;

/** A slow interaction, as the log shows it. */
export interface SlowInteraction {
  readonly ms: number;
  readonly sessionId: number;
  readonly command: number;
  readonly kind: string;
  readonly user: string;
  readonly backend: string;
  /** The statement, of COM_QUERY. */
  readonly text: string | undefined;
  readonly mode: LexerMode | undefined;
  readonly statementId: number | undefined;
}

/** What is measured of interactions, for whom, and which are logged; as the settings say now. */
export class Interactions {
  /** Grows with every change: what sessions remember of it is asked anew then. */
  generation = 0;
  enabled = false;
  slowMs = Infinity;
  #patterns: readonly string[] = [];
  #onlyDigest = false;
  #second = 0;
  #lines = 0;
  #suppressed = 0;

  constructor(
    private readonly log: Logger,
    private readonly suppressed: () => void,
  ) {}

  configure({ advance }: Pick<SettingsView, 'advance'>): void {
    this.generation++;
    this.enabled = advance.queryInteractionMetrics;
    this.slowMs = advance.queryInteractionSlowLogThresholdMs > 0 ? advance.queryInteractionSlowLogThresholdMs : Infinity;
    this.#onlyDigest = advance.queryInteractionSlowLogOnlyDigest;
    this.#patterns = advance.queryInteractionUserPatterns.split(',').map((pattern) => pattern.trim()).filter((pattern) => pattern !== '');
  }

  measures(user: string): boolean {
    return this.enabled && (this.#patterns.length === 0 || this.#matching(user) !== undefined);
  }

  /** One line with TiProxy's fields. The statement is shown without its values. */
  slow({ ms, sessionId, command, kind, user, backend, text, mode, statementId }: SlowInteraction, nowMs: number): void {
    if (!this.#hasRoom(nowMs)) return;
    const pattern = this.#matching(user);
    const digest = text === undefined || mode === undefined ? undefined : statementDigest(text, mode);
    const suppressed = this.#suppressed;
    this.#suppressed = 0;
    this.log.warn(
      {
        interaction_time: new Date().toISOString(),
        interaction_duration: `${ms.toFixed(3)}ms`,
        connection_id: sessionId,
        cmd: commandName(command),
        sql_type: kind,
        username: user,
        backend_addr: backend,
        username_pattern_matched: this.#patterns.length === 0 || pattern !== undefined,
        ...(pattern !== undefined && { username_matched_pattern: pattern }),
        ...(digest && { sql_digest: digest.digest, ...(!this.#onlyDigest && { query: digest.text }) }),
        ...(statementId !== undefined && { stmt_id: statementId }),
        ...(suppressed > 0 && { suppressed }),
      },
      'slow mysql interaction',
    );
  }

  #matching(user: string): string | undefined {
    return this.#patterns.find((pattern) => globMatches(pattern, user));
  }

  #hasRoom(nowMs: number): boolean {
    const second = Math.floor(nowMs / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#lines = 0;
    }
    if (++this.#lines <= linesPerSecondMax) return true;
    this.#suppressed++;
    this.suppressed();
    return false;
  }
}
