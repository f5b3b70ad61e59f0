/** A store as its operator knows it. */
export interface RedisName {
  /** Such as `Redis at host:port`; no user, no password. */
  readonly text: string;
  readonly tls: boolean;
}

const wordsByCode: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused (ECONNREFUSED)',
  ENOTFOUND: 'there is no host of this name (ENOTFOUND)',
  EHOSTUNREACH: 'no way to the host (EHOSTUNREACH)',
};

/** What ioredis says of a command that it could not send or has given up; its own settings are no news to an operator. */
const aboutTheClient = /^(Stream isn't writeable|Cluster isn't ready|Connection is closed|None of startup nodes)/;
const aboutItsRetries = / Retrying from scratch after \d+ms\.| Last error: Connection is closed\./g;

/** Such an error follows from another that says more. */
export function isAboutTheClient(error: Error): boolean {
  return aboutTheClient.test(error.message);
}

export function noReply({ text }: RedisName, timeoutMs: number): string {
  return `${text} does not answer: no reply for ${timeoutMs} ms`;
}

/** A server that accepts and hears no TLS waits for more, and says nothing. */
export function noConnection({ text, tls }: RedisName, timeoutMs: number): string {
  const hint = tls ? 'no TLS handshake' : 'no connection';
  return `${text} cannot be reached: ${hint} within ${timeoutMs} ms${tls ? '; does it speak TLS on this port? redis:// is without' : ''}`;
}

/** It took the connection and closed it without a word: what a server for TLS does with anything else. */
export function closedAtOnce({ text, tls }: RedisName): string {
  return `${text} closes the connection at once${tls ? '' : '; does it want TLS? rediss:// is with'}`;
}

export function isReset(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ECONNRESET' || code === 'EPIPE';
}

/** One line for an operator. The server's words are kept; what was sent never is in them. */
export function redisReason(error: Error, name: RedisName, timeoutMs: number): string {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (error.name === 'ReplyError') return `${name.text} refuses: ${error.message}`;
  if (error.message === 'timeout') return noReply(name, timeoutMs);
  if (code === 'ETIMEDOUT' && syscall === 'connect') return noConnection(name, timeoutMs);
  if (isAboutTheClient(error)) return `${name.text} is not connected`;
  const words = (code !== undefined && wordsByCode[code]) || error.message.replace(aboutItsRetries, '') || code || error.name;
  return `${name.text} cannot be reached: ${words}`;
}
