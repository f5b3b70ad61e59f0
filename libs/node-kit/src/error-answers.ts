import { type ArgumentsHost, type ExceptionFilter, HttpException } from '@nestjs/common';
import { ClusterStateUnavailable } from '@binnacle/cluster-state/cluster-state';
import { DocumentConflict } from '@binnacle/cluster-state/watched-document';
import { BinnacleError, renderError, type ErrorCode } from '@binnacle/contracts/errors';
import { dialectHeader } from '@binnacle/contracts/internal-headers';
import { dialects, type Dialect } from '@binnacle/contracts/route';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';

const codeByStatus: Readonly<Record<number, ErrorCode>> = {
  401: 'UNAUTHENTICATED',
  404: 'ROUTE_NOT_FOUND',
  405: 'METHOD_NOT_ALLOWED',
  408: 'REQUEST_TIMEOUT',
  409: 'CONFLICT',
  413: 'BODY_TOO_LARGE',
  429: 'TOO_MANY_ATTEMPTS',
};

/** Any error as one a client may see: what Fastify and Nest refuse keeps its reason, what broke in here is INTERNAL. */
export function asBinnacleError(error: unknown): BinnacleError {
  if (error instanceof BinnacleError) return error;
  if (error instanceof ClusterStateUnavailable)
    return new BinnacleError('CLUSTER_STATE_UNAVAILABLE', 'the cluster state does not answer', { cause: error, retryAfterS: 1 });
  if (error instanceof DocumentConflict)
    return new BinnacleError('CONFLICT', 'others are changing the same thing: try again', { cause: error, retryAfterS: 1 });
  const status = error instanceof HttpException ? error.getStatus() : (error as { statusCode?: unknown } | undefined)?.statusCode;
  if (typeof status !== 'number' || status < 400 || status > 499) return new BinnacleError('INTERNAL', 'internal error', { cause: error });
  return new BinnacleError(codeByStatus[status] ?? 'BAD_REQUEST', reasonOf(error), { cause: error });
}

/** Fastify refuses these bodies before any handler sees them; Nest wraps what Fastify throws. */
const badJsonCodes: ReadonlySet<unknown> = new Set(['FST_ERR_CTP_INVALID_JSON_BODY', 'FST_ERR_CTP_EMPTY_JSON_BODY']);

function isBadJson(error: unknown): boolean {
  const refused = error instanceof HttpException ? error.cause : error;
  return badJsonCodes.has((refused as { code?: unknown } | undefined)?.code);
}

/** Nest's validation pipe gives a list of reasons in its response and only its title as message. */
function reasonOf(error: unknown): string {
  // In Typesense's words, which its clients know.
  if (isBadJson(error)) return 'Bad JSON.';
  const response = error instanceof HttpException ? error.getResponse() : undefined;
  const reasons = typeof response === 'object' && response !== null && 'message' in response ? response.message : undefined;
  if (Array.isArray(reasons)) return reasons.join('; ');
  return error instanceof Error ? error.message : String(error);
}

/** The dialect of the listener that took the request in, as the gateway says it; without a gateway, Binnacle's own. */
export function requestDialect(request: FastifyRequest): Dialect {
  const named = request.headers[dialectHeader];
  return dialects.find((dialect) => dialect === named) ?? 'binnacle';
}

/** Answers with the error in the dialect of the request; what broke in here is logged with its cause. */
export function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply, log: Logger): void {
  // Nest's message for a path that nothing serves repeats the query, which may hold a key.
  const shown = request.is404 ? new BinnacleError('ROUTE_NOT_FOUND', `nothing serves ${request.method} on this path`) : asBinnacleError(error);
  const route = request.routeOptions.url ?? 'unmatched';
  if (shown.code === 'INTERNAL') log.error({ err: shown.cause ?? shown, method: request.method, route }, 'a request failed');
  if (reply.sent || reply.raw.headersSent) {
    // Half an answer cannot be taken back: the client must notice that it is incomplete.
    reply.raw.destroy();
    return;
  }
  const { status, headers, body } = renderError(shown, requestDialect(request), { method: request.method, path: request.url });
  void reply.code(status).headers(headers).send(body);
}

/** For what Fastify itself serves or refuses in this scope. */
export function answerErrorsOf(scope: FastifyInstance, log: Logger): void {
  scope.setErrorHandler((error, request, reply) => answerError(error, request, reply, log));
}

/** For what Nest's controllers throw, and for paths that nothing serves. */
export class ErrorAnswers implements ExceptionFilter {
  constructor(private readonly log: Logger) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    answerError(error, http.getRequest<FastifyRequest>(), http.getResponse<FastifyReply>(), this.log);
  }
}
