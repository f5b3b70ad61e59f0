/** What `SqlLexer.next` came to. */
export const Token = {
  end: 0,
  /** An identifier or keyword without quotes. */
  word: 1,
  /** An identifier in backticks, or in double quotes with ANSI_QUOTES. */
  quotedName: 2,
  /** A string literal; its introducer (`_utf8mb4`) is a word before it. */
  string: 3,
  number: 4,
  /** `@name`, quoted or not. */
  userVariable: 5,
  /** `@@name`, with `@@session.` and the like as far as it is one word. */
  systemVariable: 6,
  /** `?` */
  placeholder: 7,
  /** One character of punctuation, or one of the operators `:=`, `->`, `->>`, `||`, `&&`, `<=`, `>=`, `<>`, `!=`, `<<`, `>>`, `<=>`. */
  operator: 8,
  /** A string, quoted name or comment that does not end. Whoever decides on the statement must take it for anything. */
  unterminated: 9,
} as const;
export type Token = (typeof Token)[keyof typeof Token];

/** Of the session's sql_mode: both change where strings end. */
export interface LexerMode {
  readonly ansiQuotes: boolean;
  readonly noBackslashEscapes: boolean;
}

/** From the value of `sql_mode`, as session tracking reports it. */
export function lexerMode(sqlMode: string): LexerMode {
  const modes = sqlMode.toUpperCase().split(',');
  const combined = ['ANSI', 'DB2', 'MAXDB', 'MSSQL', 'ORACLE', 'POSTGRESQL'].some((mode) => modes.includes(mode));
  return { ansiQuotes: combined || modes.includes('ANSI_QUOTES'), noBackslashEscapes: modes.includes('NO_BACKSLASH_ESCAPES') };
}

const operators = ['<=>', '->>', ':=', '->', '||', '&&', '<=', '>=', '<>', '!=', '<<', '>>'];

const isSpace = (code: number): boolean => code === 0x20 || (code >= 0x09 && code <= 0x0d);
const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39;
const isLetter = (code: number): boolean => (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a);
/** Everything beyond ASCII may be part of a name. */
const isWord = (code: number): boolean => isLetter(code) || isDigit(code) || code === 0x5f || code === 0x24 || code >= 0x80;

/**
 * Splits a statement into tokens as MySQL and MariaDB do. Comments are passed; what stands in a version comment (`/*!50701`, MariaDB's `/*M!`
 * or TiDB's `/*T!` begins one) is given as tokens, since some server executes it. Reads each character once or twice, whatever the text; never throws.
 */
export class SqlLexer {
  /** Of the last token, in UTF-16 units of the text. */
  start = 0;
  end = 0;
  /** Some tokens so far came out of a version comment: whether they count depends on the server. */
  sawVersionComment = false;
  #inVersionComment = false;

  constructor(
    readonly text: string,
    readonly mode: LexerMode,
  ) {}

  /** The last token as written. */
  get raw(): string {
    return this.text.slice(this.start, this.end);
  }

  next(): Token {
    const { text } = this;
    for (;;) {
      while (this.end < text.length && isSpace(text.charCodeAt(this.end))) this.end++;
      this.start = this.end;
      if (this.end >= text.length) return this.#inVersionComment ? this.#unterminated() : Token.end;
      const passed = this.#passComment();
      if (passed === undefined) return this.#token();
      if (!passed) return this.#unterminated();
    }
  }

  #unterminated(): typeof Token.unterminated {
    this.#inVersionComment = false;
    this.end = this.text.length;
    return Token.unterminated;
  }

  /** True if a comment, or one end of a version comment, was passed; false if it has no end; undefined if there is none here. */
  #passComment(): boolean | undefined {
    const { text, end } = this;
    const code = text.charCodeAt(end);
    if (code === 0x23) return this.#passLine();
    if (code === 0x2d && text.charCodeAt(end + 1) === 0x2d) {
      const after = text.charCodeAt(end + 2);
      return Number.isNaN(after) || after <= 0x20 || after === 0x7f ? this.#passLine() : undefined;
    }
    if (this.#inVersionComment && code === 0x2a && text.charCodeAt(end + 1) === 0x2f) {
      this.#inVersionComment = false;
      this.end += 2;
      return true;
    }
    if (code !== 0x2f || text.charCodeAt(end + 1) !== 0x2a) return undefined;
    const opening = /\/\*(?:M?!\d{0,6}|T!(?:\[[\w,]*\])?)/y;
    opening.lastIndex = end;
    const version = this.#inVersionComment ? null : opening.exec(text);
    if (version !== null) {
      this.#inVersionComment = true;
      this.sawVersionComment = true;
      this.end += version[0].length;
      return true;
    }
    const close = text.indexOf('*/', end + 2);
    if (close === -1) return false;
    this.end = close + 2;
    return true;
  }

  #passLine(): true {
    const newline = this.text.indexOf('\n', this.end);
    this.end = newline === -1 ? this.text.length : newline + 1;
    return true;
  }

  #token(): Token {
    const { text, start } = this;
    const code = text.charCodeAt(start);
    if (code === 0x27) return this.#quoted(code, start, Token.string);
    if (code === 0x22) return this.#quoted(code, start, this.mode.ansiQuotes ? Token.quotedName : Token.string);
    if (code === 0x60) return this.#quoted(code, start, Token.quotedName);
    if (code === 0x40) return this.#variable();
    if (code === 0x3f) return this.#one(Token.placeholder);
    if (isDigit(code) || (code === 0x2e && isDigit(text.charCodeAt(start + 1)) && !this.#behindName())) return this.#number();
    if (isWord(code)) return this.#wordOrLiteral();
    return this.#operator();
  }

  #operator(): typeof Token.operator {
    const { text, start } = this;
    const second = text.charCodeAt(start + 1);
    // Most operators are one character before a name or a space.
    const longer = second === 0x3d || second === 0x3e || second === 0x3c || second === 0x7c || second === 0x26;
    const operator = longer ? operators.find((candidate) => text.startsWith(candidate, start)) : undefined;
    this.end = start + (operator?.length ?? 1);
    return Token.operator;
  }

  #one<T extends Token>(token: T): T {
    this.end = this.start + 1;
    return token;
  }

  /** In `t.1a` the point belongs to a qualified name. */
  #behindName(): boolean {
    return this.start > 0 && (isWord(this.text.charCodeAt(this.start - 1)) || this.text[this.start - 1] === '`');
  }

  /** Doubled quotes stand for one; a backslash takes the next character with it, but not in names. */
  #quoted(quote: number, from: number, token: Token): Token {
    const { text } = this;
    const escapes = token === Token.string && !this.mode.noBackslashEscapes;
    for (let at = from + 1; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === 0x5c && escapes) at++;
      else if (code === quote) {
        if (text.charCodeAt(at + 1) !== quote) {
          this.end = at + 1;
          return token;
        }
        at++;
      }
    }
    return this.#unterminated();
  }

  #variable(): Token {
    const { text, start } = this;
    const system = text.charCodeAt(start + 1) === 0x40;
    const from = start + (system ? 2 : 1);
    const code = text.charCodeAt(from);
    if (code === 0x60) return this.#quoted(code, from, system ? Token.systemVariable : Token.userVariable);
    if (!system && (code === 0x27 || code === 0x22)) {
      const token = this.#quoted(code, from, Token.string);
      return token === Token.string ? Token.userVariable : token;
    }
    this.end = from;
    while (this.end < text.length && (isWord(text.charCodeAt(this.end)) || text[this.end] === '.')) this.end++;
    return system ? Token.systemVariable : Token.userVariable;
  }

  /** A number, unless letters follow it without an exponent: `1st` is a name. */
  #number(): Token {
    const pattern = /0[xX][0-9a-fA-F]+(?![\w$])|0b[01]+(?![\w$])|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y;
    pattern.lastIndex = this.start;
    this.end = this.start + pattern.exec(this.text)![0].length;
    if (this.end < this.text.length && isWord(this.text.charCodeAt(this.end)) && !this.raw.includes('.')) return this.#word();
    return Token.number;
  }

  #word(): Token {
    while (this.end < this.text.length && isWord(this.text.charCodeAt(this.end))) this.end++;
    return Token.word;
  }

  /** `x'41'`, `b'01'` and `n'text'` are literals, not names before strings. */
  #wordOrLiteral(): Token {
    this.#word();
    const first = this.text.charCodeAt(this.start) | 0x20;
    const prefix = this.end === this.start + 1 && (first === 0x78 || first === 0x62 || first === 0x6e);
    return prefix && this.text.charCodeAt(this.end) === 0x27 ? this.#quoted(0x27, this.end, Token.string) : Token.word;
  }
}
