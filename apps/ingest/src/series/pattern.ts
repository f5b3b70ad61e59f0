/** `exact`, `prefix*`, `*suffix`, `prefix*suffix`; with `!` before it, everything else. One star is all, so that matching is as fast as comparing. */
export class Pattern {
  readonly #isNegated: boolean;
  readonly #before: string;
  /** Undefined where there is no star. */
  readonly #after: string | undefined;

  constructor(text: string) {
    this.#isNegated = text.startsWith('!');
    const [before, after] = (this.#isNegated ? text.slice(1) : text).split('*', 2);
    this.#before = before ?? '';
    this.#after = after;
  }

  matches(text: string): boolean {
    return (this.captured(text) !== undefined) !== this.#isNegated;
  }

  /** What stands for the star, or empty where there is none; undefined when the text does not fit, the `!` aside. */
  captured(text: string): string | undefined {
    if (this.#after === undefined) return text === this.#before ? '' : undefined;
    const fits = text.length >= this.#before.length + this.#after.length && text.startsWith(this.#before) && text.endsWith(this.#after);
    return fits ? text.slice(this.#before.length, text.length - this.#after.length) : undefined;
  }
}
