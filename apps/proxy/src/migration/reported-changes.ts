/** Result sets are in these, and a part of each character may be a quote or a zero byte. */
export const wideCharsets = new Set(['ucs2', 'utf16', 'utf16le', 'utf32']);
/** Variables that begin to record something. */
export const histories = new Set(['profiling', 'optimizer_trace', 'sql_auto_is_null']);

/** Of these effects servers report "something changed" and no more. */
export const explained = ['user-variable', 'text-prepare', 'temporary-table', 'role', 'unreplayable-variable', 'one-shot-transaction', 'not-understood', 'table-lock'] as const;

/** The whole statement: nothing but the character sets changes. */
export const setNames = /^\s*set\s+names\s+'?\w+'?(?:\s+collate\s+'?\w+'?)?\s*;?\s*$/i;

/** ER_PARSE_ERROR. */
const parseError = 1064;
/** One statement, in which nothing can hide, and that begins with none of the words behind which other statements and stored code run: these may end in any error when much is done. */
const oneStatement = /^\s*(?!(?:execute|set|begin|binlog)\b)[a-z_]\w*\b[^;:`'"#\\/-]*;?\s*$/i;

/** Whether the server could not even read it. */
export function isMisspelt(text: string, errorCode: number): boolean {
  return errorCode === parseError && oneStatement.test(text);
}
