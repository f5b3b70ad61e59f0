/** What a handshake is sent with when nobody asked for something else: utf8mb4_general_ci, which every server since 5.5 knows. */
export const utf8mb4GeneralCi = 45;
/** `binary`: bytes are sent and stored as they are. */
export const binaryCharset = 63;

/**
 * Collation numbers of the client character sets in which the second byte of a character can be a quote's or a backslash's:
 * big5, cp932, gb18030, gbk, sjis, with the NO PAD collations of MariaDB (+ 1024). A lexer that reads bytes is wrong for these.
 */
const unsafeCollations = new Set([1, 84, 95, 96, 28, 87, 13, 88, 248, 249, 250].flatMap((id) => [id, id + 1_024]));
const unsafeNames = new Set(['big5', 'cp932', 'gb18030', 'gbk', 'sjis']);

/** Whether text in this collation may be given to `SqlLexer`. If not, nothing may be concluded from the statements of the session. */
export function isLexerSafeCollation(collationId: number): boolean {
  return !unsafeCollations.has(collationId);
}

/** The same for a character set by its name, as `character_set_client` is reported by session tracking. */
export function isLexerSafeCharset(name: string): boolean {
  return !unsafeNames.has(name.toLowerCase());
}
