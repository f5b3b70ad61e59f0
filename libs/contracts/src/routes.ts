import type { Dialect, Route } from './route.js';
import { binnacleRoutes, commonRoutes } from './routes/binnacle.js';
import { gostatsdRoutes } from './routes/gostatsd.js';
import { sessionRoutes } from './routes/sessions.js';
import { tiflashAndTypesenseRoutes, tiflashRoutes } from './routes/tiflash.js';
import { tiproxyRoutes } from './routes/tiproxy.js';
import { typesenseRoutes } from './routes/typesense.js';

/**
 * Every path of every dialect. Where two dialects answer one path differently each has a row, and the order of the rows is the order of
 * precedence on port 8080: TiFlash before Typesense before gostatsd before TiProxy.
 */
export const routes: readonly Route[] = [
  ...commonRoutes,
  ...tiflashRoutes,
  ...tiflashAndTypesenseRoutes,
  ...typesenseRoutes,
  ...gostatsdRoutes,
  ...tiproxyRoutes,
  ...binnacleRoutes,
  ...sessionRoutes,
];

/** What a listener serves, each method and path once; `all` is port 8080. */
export function listenerRoutes(listener: Dialect | 'all'): Route[] {
  if (listener !== 'all') return routes.filter((route) => route.dialects.includes(listener));
  const byMethodAndPath = new Map<string, Route>();
  for (const route of routes) {
    const key = `${route.method} ${route.path}`;
    if (!byMethodAndPath.has(key)) byMethodAndPath.set(key, route);
  }
  return [...byMethodAndPath.values()];
}
