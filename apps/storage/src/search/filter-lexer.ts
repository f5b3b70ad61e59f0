/** What stands between the colon and the value; '' is the plain `field:value`. */
export type Operator = '' | '=' | '!=' | '!' | '<' | '<=' | '>' | '>=';

/** `quoted`: a part of it was between backticks, so nothing in it has a meaning of its own. */
export interface RawValue {
  readonly text: string;
  readonly quoted: boolean;
}

export interface RawCondition {
  readonly name: string;
  readonly operator: Operator;
  /** One, unless it is a list. */
  readonly values: readonly RawValue[];
  readonly isList: boolean;
}

const operators: readonly Operator[] = ['!=', '!', '<=', '<', '>=', '>', '='];
const backtick = '`';

/** Takes a filter apart, from left to right. What belongs to a value depends on where it stands, so there is no list of tokens. */
export class FilterLexer {
  #at = 0;

  constructor(private readonly text: string) {}

  atEnd(): boolean {
    this.#skipBlanks();
    return this.#at === this.text.length;
  }

  /** Whether this comes next; then it is taken. */
  take(symbol: string): boolean {
    this.#skipBlanks();
    if (!this.text.startsWith(symbol, this.#at)) return false;
    this.#at += symbol.length;
    return true;
  }

  /** `name:operator value`, as far as `&&`, `||` or a parenthesis; undefined when that is not what comes next. */
  condition(): RawCondition | undefined {
    const start = this.#at;
    while (this.#at < this.text.length && !this.#atStop(':')) this.#at++;
    const name = this.text.slice(start, this.#at).trim();
    if (name === '' || !this.take(':')) return undefined;
    const operator = operators.find((candidate) => this.take(candidate)) ?? '';
    if (this.take('[')) {
      const values = this.#list();
      return values && { name, operator, values, isList: true };
    }
    const value = this.#value('');
    return value && { name, operator, values: [value], isList: false };
  }

  /** The rest of a list, with its end. `[]` has no values. */
  #list(): RawValue[] | undefined {
    if (this.take(']')) return [];
    const values: RawValue[] = [];
    for (;;) {
      const value = this.#value(',]');
      if (value === undefined) return undefined;
      values.push(value);
      if (this.take(']')) return values;
      if (!this.take(',')) return undefined;
    }
  }

  /** Up to one of these characters, or to what ends a condition where there are none; undefined when a backtick has no partner. */
  #value(stops: string): RawValue | undefined {
    this.#skipBlanks();
    let text = '';
    let quoted = false;
    while (this.#at < this.text.length && !this.#atStop(stops)) {
      if (this.text[this.#at] !== backtick) {
        text += this.text[this.#at++];
        continue;
      }
      const end = this.text.indexOf(backtick, this.#at + 1);
      if (end < 0) return undefined;
      text += this.text.slice(this.#at + 1, end);
      this.#at = end + 1;
      quoted = true;
      this.#skipBlanks();
    }
    return { text: quoted ? text : text.trim(), quoted };
  }

  /** Inside a list only its own stops count: `[a && b, (c)]` holds two values. */
  #atStop(stops: string): boolean {
    const next = this.text[this.#at] as string;
    if (stops.includes(next)) return true;
    if (stops.startsWith(',')) return false;
    return next === '(' || next === ')' || this.text.startsWith('&&', this.#at) || this.text.startsWith('||', this.#at);
  }

  #skipBlanks(): void {
    while (this.#at < this.text.length && (this.text[this.#at] as string).trim() === '') this.#at++;
  }
}
