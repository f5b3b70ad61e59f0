/** TiDB logs a session in again by a token of `SHOW SESSION_STATES`, signed by the certificate that its servers share, instead of a password. */
export const tidbSessionToken = 'tidb_session_token';

/** The reply is the token's JSON as the column `Session_token` gave it; it is longer than 255 bytes, so PLUGIN_AUTH_LENENC_CLIENT_DATA is needed. */
export function sessionTokenReply(token: string | Buffer): Buffer {
  return Buffer.from(token as string);
}
