import { containedDigests } from '@binnacle/mysql-wire/digest';
import type { LexerMode } from '@binnacle/mysql-wire/lexer';

/** Who wants to pass with more is refused, since only what was read can be judged; kept small because it is gathered in memory. */
export const judgedBytesMax = 262_144;
/** Texts whose answer is remembered; times `textCharactersMax` this is 16 MB at the worst. */
const rememberedMax = 2_000;
const textCharactersMax = 4_096;

/** Statements that a namespace refuses, by digest, alone or among others in a text. A digest costs some microseconds, so it is taken once of each text that comes often. */
export class RefuseList {
  readonly #digests: ReadonlySet<string>;
  readonly #known = new Map<string, boolean>();

  constructor(digests: readonly string[]) {
    this.#digests = new Set(digests.map((digest) => digest.toLowerCase()));
  }

  get size(): number {
    return this.#digests.size;
  }

  has(text: string, mode: LexerMode): boolean {
    const key = `${mode.ansiQuotes ? 'a' : ''}${mode.noBackslashEscapes ? 'b' : ''} ${text}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const refused = [...containedDigests(text, mode)].some((digest) => this.#digests.has(digest));
    if (text.length <= textCharactersMax) {
      // The oldest goes: texts with values in them come once, those that matter come back soon.
      if (this.#known.size >= rememberedMax) this.#known.delete(this.#known.keys().next().value as string);
      this.#known.set(key, refused);
    }
    return refused;
  }
}
