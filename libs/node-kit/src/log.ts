import type { LoggerService } from '@nestjs/common';
import { pino, type DestinationStream, type Logger } from 'pino';
import { prettyFactory } from 'pino-pretty';
import type { LogConfig } from './config.js';

/** Shorter texts would blot out ordinary words; a secret that short protects nothing anyway. */
const secretLengthMin = 4;

/** Headers and properties that carry secrets in objects people log; the texts in `secrets` are masked wherever they stand. */
const redactedPaths = [
  'headers.authorization',
  'headers["x-typesense-api-key"]',
  'headers["x-binnacle-cluster-secret"]',
  '*.headers.authorization',
  '*.headers["x-typesense-api-key"]',
  '*.headers["x-binnacle-cluster-secret"]',
  'apiKey',
  '*.apiKey',
  'clusterSecret',
  '*.clusterSecret',
  'password',
  '*.password',
];

/** Replaces known secrets in any text: log lines, command lines. */
export function secretMasker(secrets: readonly string[]): (text: string) => string {
  const texts = secrets.filter((secret) => secret.length >= secretLengthMin).flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)]);
  // Longest first, so that a secret inside another one leaves no rest.
  const unique = [...new Set(texts)].sort((a, b) => b.length - a.length);
  return (text) => unique.reduce((masked, secret) => masked.replaceAll(secret, '[secret]'), text);
}

/** JSON lines on standard output, or readable ones where a person looks on. `destination` is for tests. */
export function createLog(config: LogConfig, mask: (text: string) => string, destination?: DestinationStream): Logger {
  const pretty = config.format === 'pretty' || (config.format === 'auto' && process.stdout.isTTY);
  const sink = destination ?? pino.destination({ fd: 1, sync: true });
  const stream = pretty ? prettyLines(sink) : sink;
  return pino(
    {
      level: config.level,
      redact: { paths: redactedPaths, censor: '[secret]' },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: { streamWrite: mask },
    },
    stream,
  );
}

/** Line by line and at once: pino-pretty's own stream would lose its last lines when the process ends. */
function prettyLines(sink: DestinationStream): DestinationStream {
  const pretty = prettyFactory({ colorize: process.stdout.isTTY, ignore: 'pid,hostname,nodeId' });
  return { write: (line) => sink.write(pretty(line)) };
}

/** What Nest says while it wires modules up: of use to whoever debugs the wiring. */
const wiringContexts: ReadonlySet<string> = new Set([
  'NestFactory',
  'InstanceLoader',
  'RoutesResolver',
  'RouterExplorer',
  'NestApplication',
]);

/** Lets Nest's own messages, and those of code that uses Nest's `Logger`, go through the node's log. */
export class NestLog implements LoggerService {
  constructor(private readonly target: Logger) {}

  log(message: unknown, ...rest: unknown[]): void {
    const context = contextOf(rest);
    this.#write(context !== undefined && wiringContexts.has(context) ? 'debug' : 'info', message, rest);
  }
  fatal(message: unknown, ...rest: unknown[]): void {
    this.#write('fatal', message, rest);
  }
  error(message: unknown, ...rest: unknown[]): void {
    // What keeps the application from being made is thrown to whoever makes it, too, and said there.
    this.#write(contextOf(rest) === 'ExceptionHandler' ? 'debug' : 'error', message, rest);
  }
  warn(message: unknown, ...rest: unknown[]): void {
    this.#write('warn', message, rest);
  }
  debug(message: unknown, ...rest: unknown[]): void {
    this.#write('debug', message, rest);
  }
  verbose(message: unknown, ...rest: unknown[]): void {
    this.#write('trace', message, rest);
  }

  #write(level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal', message: unknown, rest: readonly unknown[]): void {
    const context = contextOf(rest);
    // Nest hands over a stack as a text before the context.
    const stack = rest.find((each): each is string => typeof each === 'string' && each !== context && each.includes('\n'));
    const fields = { ...(context && { context }), ...(stack && { stack }), ...(message instanceof Error && { err: message }) };
    this.target[level](fields, message instanceof Error ? message.message : String(message));
  }
}

function contextOf(rest: readonly unknown[]): string | undefined {
  const last = rest.at(-1);
  return typeof last === 'string' ? last : undefined;
}
