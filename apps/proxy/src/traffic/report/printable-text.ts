const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/**
 * Any text on one line of at most `max` characters, that a terminal, a log and a page can show: nothing in it moves a cursor, changes a colour, or turns the
 * direction of what follows. U+FFFD stands in for such characters. Statements are written by whoever sends them.
 */
export function printable(text: string, max = Infinity): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return harmless(line.length > max ? `${line.slice(0, max - 1)}…` : line);
}

/** The same for text of several lines, whose indentation matters. */
export function printableLines(text: string): string[] {
  return text.trimEnd().split(/\r?\n/).map((line) => harmless(line.replaceAll('\t', '    ')));
}

/** A cut can leave half of a surrogate pair, which \p{Cs} finds: only lone ones match it. */
function harmless(line: string): string {
  return line.replace(/[\p{Cc}\p{Cs}\p{Bidi_Control}\ufeff\ufffe\uffff]/gu, '\ufffd');
}

/** The same, as text of an HTML element or of an attribute in quotes. */
export function html(text: string, max = Infinity): string {
  return printable(text, max).replace(/[&<>"']/g, (character) => entities[character]!);
}

/** `3.2 %`, `100 %` for all of them alone, and never `0 %` for some. */
export function percent(part: number, whole: number): string {
  if (whole === 0 || part === 0) return '0 %';
  const value = (100 * part) / whole;
  if (value < 0.01) return '< 0.01 %';
  if (value > 99.99 && part < whole) return '> 99.99 %';
  return `${Number(value.toFixed(value > 99.9 || value < 1 ? 2 : 1))} %`;
}

export function grouped(count: number): string {
  return count.toLocaleString('en-US');
}

/** `1 digest`, `2,000 digests`. */
export function counted(count: number, one: string, several = `${one}s`): string {
  return `${grouped(count)} ${count === 1 ? one : several}`;
}

/** Of microseconds: `180 µs`, `1.25 ms`, `31 s`. */
export function duration(us: number): string {
  const [value, unit] = us < 1_000 ? [us, 'µs'] : us < 1e6 ? [us / 1e3, 'ms'] : us < 120e6 ? [us / 1e6, 's'] : us < 7_200e6 ? [us / 60e6, 'min'] : [us / 3_600e6, 'h'];
  return `${Number(value.toPrecision(value < 1_000 ? 3 : 4))} ${unit}`;
}
