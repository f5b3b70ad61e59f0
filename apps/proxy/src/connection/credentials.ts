/**
 * What logs a user in at another server without the client. All of it is as secret as the password: it stays in this process's memory, and
 * is never logged, shown or sent to anyone but a backend.
 */
export type Credential =
  /** Empty for a user without a password. */
  | { readonly kind: 'password'; readonly password: string }
  /** SHA1(password): enough for mysql_native_password and nothing else. */
  | { readonly kind: 'native'; readonly stage1: Buffer }
  /** `Session_token` of SHOW SESSION_STATES: good for one TiDB cluster and a minute. */
  | { readonly kind: 'tidb-token'; readonly token: Buffer };

/** The users file, and what logins have shown. */
export class Credentials {}
