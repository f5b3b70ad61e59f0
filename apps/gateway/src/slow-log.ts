import type { Route } from '@binnacle/contracts/route';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Inject, Injectable } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import { queryWithoutKey } from './presented-key.js';

/** Of a longer path and query the rest is not written: a search can bring kilobytes. */
const charactersMax = 2_048;

/** The slow request log of the Typesense document, switched by `log-slow-requests-time-ms` while the gateway runs. */
@Injectable()
export class SlowLog {
  constructor(@Inject(NodeContext) private readonly node: Pick<NodeContext, 'settings' | 'log'>) {}

  /** Call it once the answer has gone out. A threshold of -1 is never reached, 0 always. */
  observe(request: IncomingMessage, route: Route, latencyMs: number): void {
    const { logSlowRequestsTimeMs, logSlowSearchesTimeMs, enableSearchLogging } = this.node.settings.value();
    const isSearch = route.operation === 'search';
    const isSlow = reached(logSlowRequestsTimeMs, latencyMs) || (isSearch && reached(logSlowSearchesTimeMs, latencyMs));
    if (isSlow) this.node.log.warn(`SLOW REQUEST ${describe(request, latencyMs)}`);
    if (isSearch && enableSearchLogging) this.node.log.info(`SEARCH REQUEST ${describe(request, latencyMs)}`);
  }
}

function reached(thresholdMs: number, latencyMs: number): boolean {
  return thresholdMs >= 0 && latencyMs >= thresholdMs;
}

/** `(2003 ms) 127.0.0.1 GET /collections/books/documents/search?q=x` */
function describe(request: IncomingMessage, latencyMs: number): string {
  const url = request.url ?? '';
  const mark = url.indexOf('?');
  const query = mark < 0 ? '' : queryWithoutKey(url.slice(mark + 1));
  const shown = `${mark < 0 ? url : url.slice(0, mark)}${query === '' ? '' : `?${query}`}`;
  const client = request.socket.remoteAddress ?? 'gone';
  return `(${Math.round(latencyMs)} ms) ${client} ${request.method} ${shown.slice(0, charactersMax)}`;
}
