import { openApiDocument } from '@binnacle/contracts/openapi';
import type { Route } from '@binnacle/contracts/route';
import { listenerRoutes, routes } from '@binnacle/contracts/routes';
import { buildInfo } from '@binnacle/node-kit/build-info';
import { Controller, Get } from '@nestjs/common';

type ShownRoute = Pick<Route, 'method' | 'path' | 'dialects' | 'target' | 'action' | 'summary'>;

/** What the gateway serves, for people and for generators of clients. */
@Controller('api/v1')
export class RoutesController {
  readonly #document = openApiDocument(listenerRoutes('all'), buildInfo.version);
  readonly #routes: readonly ShownRoute[] = routes.map(({ method, path, dialects, target, action, summary }) => {
    return { method, path, dialects, target, action, summary };
  });

  @Get('routes')
  list(): { routes: readonly ShownRoute[] } {
    return { routes: this.#routes };
  }

  /** The document of port 8080, which serves every path. */
  @Get('openapi.json')
  openApi(): Record<string, unknown> {
    return this.#document;
  }
}
