/** With one of these begins everything that `mayHoldSecret` looks for, in lower case; with four letters, or with three whatever follows. */
const beginnings = 'iden pass user serv gran mast repl conn impo back rest load secr cred acce auth aes_ des_ enco deco encr mysq glob spid exte prep exec toke'.split(' ');
const shortBeginnings = ['://', 'pwd'];

/** Five bits for each byte: letters in either case, and three signs; 0 for all else. */
const kinds = new Uint8Array(256);
for (let letter = 0; letter < 26; letter++) kinds[0x41 + letter] = kinds[0x61 + letter] = 1 + letter;
for (const [index, sign] of [...'_:/'].entries()) kinds[sign.charCodeAt(0)] = 27 + index;
const fourKinds = 0xf_ff_ff;
/** One bit for each four. */
const begins = new Uint32Array((fourKinds + 1) / 32);
const add = (four: number): number => (begins[four >>> 5]! |= 1 << (four & 31));
const kindsOf = (text: string): number => [...text].reduce((four, letter) => (four << 5) | kinds[letter.charCodeAt(0)]!, 0);
for (const text of beginnings) add(kindsOf(text));
for (const text of shortBeginnings) {
  for (let before = 0; before < 32; before++) add((before << 15) | kindsOf(text));
}

/**
 * Reads a statement's bytes, in as many pieces as it comes in, and tells most of those that hold no secret at the cost of some hundred nanoseconds: where
 * nothing was `seen`, `mayHoldSecret` of the same text (a character a byte) is false in every mode. Where something was, it has to be asked.
 */
export class SecretHints {
  seen = false;
  #four = 0;

  reset(): void {
    this.seen = false;
    this.#four = 0;
  }

  read(bytes: Buffer, start: number, end: number): void {
    if (this.seen) return;
    let four = this.#four;
    for (let at = start; at < end; at++) {
      four = ((four << 5) & fourKinds) | kinds[bytes[at]!]!;
      if ((begins[four >>> 5]! >>> (four & 31)) & 1) {
        this.seen = true;
        return;
      }
    }
    this.#four = four;
  }
}
