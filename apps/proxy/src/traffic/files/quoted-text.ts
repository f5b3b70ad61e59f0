const quote = 0x22;
const backslash = 0x5c;
const hexadecimal = Buffer.from('0123456789abcdef');
/** Of one byte. */
export const quotedBytesMax = 4;

/** Writes a text between quotes so that Go's `strconv.Unquote` reads the same bytes, whatever their encoding; returns the offset behind it. */
export function writeQuoted(target: Buffer, at: number, text: Uint8Array): number {
  target[at++] = quote;
  for (let index = 0; index < text.length; index++) {
    const byte = text[index] as number;
    if (byte === quote || byte === backslash) target[at++] = backslash;
    if (byte >= 0x20 && byte <= 0x7e) {
      target[at++] = byte;
      continue;
    }
    target[at++] = backslash;
    target[at++] = 0x78;
    target[at++] = hexadecimal[byte >> 4] as number;
    target[at++] = hexadecimal[byte & 15] as number;
  }
  target[at++] = quote;
  return at;
}

const escapes = new Map([...'abfnrtv'].map((letter, index) => [letter.charCodeAt(0), '\x07\b\f\n\r\t\v'.charCodeAt(index)]));
const digitCounts = new Map([['x', 2], ['u', 4], ['U', 8]].map(([letter, count]) => [(letter as string).charCodeAt(0), count as number]));
/** Octal: three digits, the first right behind the backslash. */
const octalDigits = 3;

/** The bytes between the quotes, as `strconv.Unquote` reads what is in double quotes. Undefined: not such a text. */
export function unquoted(quoted: Uint8Array): Buffer | undefined {
  if (quoted.length < 2 || quoted[0] !== quote || quoted[quoted.length - 1] !== quote) return undefined;
  const inner = Buffer.from(quoted.subarray(1, -1));
  let to = 0;
  for (let from = 0; from < inner.length; ) {
    const byte = inner[from++] as number;
    if (byte === quote || byte === 0x0a) return undefined;
    if (byte !== backslash) {
      inner[to++] = byte;
      continue;
    }
    const letter = inner[from++];
    if (letter === undefined) return undefined;
    if (letter === quote || letter === backslash) {
      inner[to++] = letter;
      continue;
    }
    const control = escapes.get(letter);
    if (control !== undefined) {
      inner[to++] = control;
      continue;
    }
    const count = digitCounts.get(letter);
    const digits = count === undefined ? inner.toString('latin1', from - 1, from - 1 + octalDigits) : inner.toString('latin1', from, from + count);
    const isComplete = count === undefined ? /^[0-7]{3}$/.test(digits) : digits.length === count && /^[0-9a-f]+$/i.test(digits);
    if (!isComplete) return undefined;
    from += count ?? octalDigits - 1;
    const value = Number.parseInt(digits, count === undefined ? 8 : 16);
    if (count === undefined || count === 2) {
      if (value > 0xff) return undefined;
      inner[to++] = value;
    } else {
      if (value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return undefined;
      // What it stands for is never longer than it was.
      to += inner.write(String.fromCodePoint(value), to);
    }
  }
  return inner.subarray(0, to);
}
