export const clearPassword = 'mysql_clear_password';

/** The reply is the password and a NUL. Only over TLS, as is full authentication of caching_sha2_password there, which has the same form. */
export function clearReply(password: string): Buffer {
  return Buffer.from(`${password}\0`);
}

/** The password in a reply; undefined if it has no NUL at its end, or one inside. */
export function parseClearReply(reply: Buffer): string | undefined {
  return reply.length > 0 && reply.indexOf(0) === reply.length - 1 ? reply.toString('utf8', 0, reply.length - 1) : undefined;
}
