/**
 * What FTS5 takes after MATCH: every word is in one of the columns; undefined when there is no word. Each is quoted, so nothing in it is
 * an operator; what the tokenizer sees as several tokens has to be there as a phrase. `prefix`: the last one may be the beginning of a word.
 */
export function matchText(columns: readonly { readonly words: string }[], text: string, prefix: boolean): string | undefined {
  // FTS5 reads its query as far as the first NUL.
  const words = text.replaceAll('\0', ' ').split(/\s+/).filter((word) => /[\p{L}\p{N}\p{Co}]/u.test(word));
  if (words.length === 0 || columns.length === 0) return undefined;
  const quoted = words.map((word) => `"${word.replaceAll('"', '""')}"`);
  return `{${columns.map((column) => column.words).join(' ')}} : (${quoted.join(' AND ')}${prefix ? ' *' : ''})`;
}
