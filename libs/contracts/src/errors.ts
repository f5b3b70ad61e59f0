import type { Dialect } from './route.js';

/** Status of each error. The codes are part of the API: they are never renamed and never change their meaning. */
const statusByCode = {
  /** No such path. */
  ROUTE_NOT_FOUND: 404,
  /** The path exists, with other methods. */
  METHOD_NOT_ALLOWED: 405,
  /** The path is known, but its domain is not built yet. */
  /** The thing a path or body names does not exist: an API key, a lease. */
  NOT_FOUND: 404,
  /** No key, a wrong one, or one without the scope. */
  UNAUTHENTICATED: 401,
  /** The client's certificate is valid, its common name is not let in. */
  CERTIFICATE_ROLE: 403,
  /** Too many failed attempts from this address. */
  TOO_MANY_ATTEMPTS: 429,
  BAD_REQUEST: 400,
  BODY_TOO_LARGE: 413,
  /** More is asked for at once than there may be: hits of a page. */
  LIMIT_EXCEEDED: 422,
  /** The client took too long to send its request. */
  REQUEST_TIMEOUT: 408,
  /** No live node serves this. */
  NO_TARGET: 503,
  /** `?node=` names a node that is not in the registry. */
  UNKNOWN_NODE: 404,
  /** A data route of a node that is not caught up. */
  NOT_READY: 503,
  /** A limit of requests on their way is reached. */
  OVERLOADED: 503,
  UPSTREAM_UNREACHABLE: 502,
  UPSTREAM_TIMEOUT: 504,
  /** `skip-writes` is on. */
  WRITES_SKIPPED: 422,
  CLUSTER_STATE_UNAVAILABLE: 503,
  /** Somebody else changed it first, or it is already under way. */
  CONFLICT: 409,
  /** The node lacks what this needs (jemalloc, say); the message tells how to get it there. */
  CAPABILITY_MISSING: 503,
  /** A capture of the node runs, and this dialect does not wait for its end. The status is TiFlash's. */
  ALREADY_PROFILING: 500,
  /** There is no room left where something had to be written. */
  OUT_OF_DISK: 507,
  /** Too little memory is left to take a write in. */
  OUT_OF_MEMORY: 507,
  /** The disk under the rows failed: reads go on, writes do not. */
  STORAGE_FAILED: 503,
  /** A snapshot could not be made; nothing of it is left. */
  SNAPSHOT_FAILED: 500,
  INTERNAL: 500,
} as const;

export type ErrorCode = keyof typeof statusByCode;
export const errorCodes = Object.keys(statusByCode) as ErrorCode[];

/** The status of an error; dialects may have their own idea of it. */
export function errorStatus(code: ErrorCode, dialect: Dialect = 'binnacle'): number {
  return statusIn(dialect, code);
}

/** An error a client may see. The message is for the client; the cause is for the log and never leaves the process. */
export class BinnacleError extends Error {
  override readonly name = 'BinnacleError';
  readonly code: ErrorCode;
  /** Seconds after which it is worth trying again. */
  readonly retryAfterS: number | undefined;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; retryAfterS?: number } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.retryAfterS = options.retryAfterS;
  }
}

export interface RenderedError {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
}

interface FailedRequest {
  readonly method: string;
  /** Without the query: it may hold a key. */
  readonly path: string;
}

type Content = readonly [type: string, body: string];

const plainText = 'text/plain';
const goText = 'text/plain; charset=utf-8';
const json = 'application/json; charset=utf-8';
/** Paths come from clients and are shown to them in errors; the rest of a longer one tells nobody anything. */
const pathCharactersMax = 256;

/**
 * An error as a dialect says it. Anything but a `BinnacleError` is INTERNAL, and INTERNAL never says more than that: its message may
 * come from a library and hold addresses or secrets.
 */
export function renderError(error: unknown, dialect: Dialect, request: FailedRequest): RenderedError {
  const code = error instanceof BinnacleError ? error.code : 'INTERNAL';
  const message = error instanceof BinnacleError && code !== 'INTERNAL' ? error.message : 'internal error';
  const shown = { method: request.method, path: withoutQuery(request.path) };
  const [type, body] = contentOf[dialect](code, message, shown);
  const headers: Record<string, string> = { 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' };
  if (body !== '') headers['content-type'] = type;
  if (code === 'UNAUTHENTICATED') headers['www-authenticate'] = 'Bearer realm="binnacle"';
  if (error instanceof BinnacleError && error.retryAfterS !== undefined)
    headers['retry-after'] = String(Math.max(0, Math.ceil(error.retryAfterS)));
  return { status: statusIn(dialect, code), headers, body };
}

function withoutQuery(path: string): string {
  const query = path.indexOf('?');
  const bare = query < 0 ? path : path.slice(0, query);
  return bare.length > pathCharactersMax ? `${bare.slice(0, pathCharactersMax)}...` : bare;
}

/** TiFlash and Typesense know no wrong methods, only unknown paths; TiProxy's router neither. Typesense says 422 when it is short of something. */
function statusIn(dialect: Dialect, code: ErrorCode): number {
  if (dialect === 'typesense' && (code === 'OUT_OF_DISK' || code === 'OUT_OF_MEMORY')) return 422;
  if (code === 'METHOD_NOT_ALLOWED' && dialect !== 'gostatsd' && dialect !== 'binnacle') return statusByCode.ROUTE_NOT_FOUND;
  return statusByCode[code];
}

/** For forwarders of another version of gostatsd's protocol, which would else only hear that there is nothing. */
function otherVersion(path: string): string | undefined {
  return /^\/v\d+\/(raw|event)$/.test(path) ? 'not found: versions 2 and 1 of this protocol are spoken here, at /v2/raw and /v2/event, /v1/raw and /v1/event' : undefined;
}

const contentOf: Readonly<Record<Dialect, (code: ErrorCode, message: string, request: FailedRequest) => Content>> = {
  tiflash(code, message, request) {
    if (code === 'ROUTE_NOT_FOUND' || code === 'METHOD_NOT_ALLOWED')
      return [plainText, `path not found: ${request.method} ${request.path}`];
    return [plainText, code === 'CERTIFICATE_ROLE' ? 'certificate role error' : message];
  },
  tiproxy(code, message) {
    return [json, JSON.stringify(code === 'ROUTE_NOT_FOUND' || code === 'METHOD_NOT_ALLOWED' ? 'not found' : message)];
  },
  gostatsd(code, message, request) {
    if (code === 'METHOD_NOT_ALLOWED') return [goText, ''];
    return [goText, code === 'ROUTE_NOT_FOUND' ? (otherVersion(request.path) ?? 'not found') : message];
  },
  typesense(code, message) {
    return [json, typesenseBodies[code] ?? typesenseTexts.get(message) ?? JSON.stringify({ message })];
  },
  binnacle(code, message, request) {
    const shown = code === 'ROUTE_NOT_FOUND' ? (otherVersion(request.path) ?? message) : message;
    return [json, JSON.stringify({ error: { code, message: shown } })];
  },
};

/** Byte for byte as Typesense sends them, spaces included. */
const typesenseBodies: Partial<Record<ErrorCode, string>> = {
  ROUTE_NOT_FOUND: '{ "message": "Not Found"}',
  METHOD_NOT_ALLOWED: '{ "message": "Not Found"}',
  UNAUTHENTICATED: '{"message": "Forbidden - a valid `x-typesense-api-key` header must be sent."}',
  NOT_READY: '{ "message": "Not Ready or Lagging"}',
  WRITES_SKIPPED: '{"message": "Skipping writes."}',
  SNAPSHOT_FAILED: '{"error":"Copy failed.","success":false}',
};

/** Typesense writes these answers by hand, with a space, and its other messages through a JSON library, without one. */
const typesenseTexts: ReadonlyMap<string, string> = new Map(
  ['Bad JSON.', 'Another snapshot is in progress.'].map((text) => [text, `{"message": "${text}"}`]),
);
