import type { Dialect, HttpMethod, Route } from '@binnacle/contracts/route';
import findMyWay from 'find-my-way';

/** The listener a request came in on: that of a dialect, or port 8080, which serves them all. */
export type ListenerName = Dialect | 'all';

/** A row of the table as one listener serves it. */
export interface ListenerRoute {
  readonly route: Route;
  /** On port 8080 a request speaks the first dialect of its row. */
  readonly dialect: Dialect;
  /** The listener is port 8080. */
  readonly isShared: boolean;
  /** `route` itself, but never `public`: who names a node learns of the cluster's inside, and `?node=*` makes it work. */
  readonly namedNodeRoute: Route;
}

export type RouteMatch =
  | { readonly kind: 'route'; readonly matched: ListenerRoute; readonly nodePath: string }
  | { readonly kind: 'wrong-method'; readonly dialect: Dialect; readonly allowed: readonly string[] }
  | { readonly kind: 'unknown'; readonly dialect: Dialect };

/** What a request for a node's answer needs where the route alone needs nothing. */
const namedNodeAction = 'cluster:get';
/** As on the node listener: a path that one of them takes the other must not refuse. */
const pathParameterLengthMax = 2_048;
const methods: readonly HttpMethod[] = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];
const misspelt = '/tifash/';

/** Which row of the table a request on one listener is for. */
export class DialectRouter {
  readonly #router = findMyWay({ maxParamLength: pathParameterLengthMax });
  readonly #dialect: Dialect;

  constructor(listener: ListenerName, routes: readonly Route[]) {
    this.#dialect = listener === 'all' ? 'binnacle' : listener;
    for (const route of routes) {
      const dialect = listener === 'all' ? (route.dialects[0] ?? 'binnacle') : listener;
      const namedNodeRoute = route.action === 'public' ? { ...route, action: namedNodeAction } : route;
      this.#router.on(route.method, route.path, nothing, { route, dialect, isShared: listener === 'all', namedNodeRoute } satisfies ListenerRoute);
    }
  }

  /** `path` is the request target up to its `?`, as the client sent it. */
  match(method: string, path: string): RouteMatch {
    // Neither another host's URL (`GET http://x/`) nor a fragment: both could be read differently further on.
    if (path.charCodeAt(0) !== slash || path.includes('#')) return { kind: 'unknown', dialect: this.#dialect };
    const spelt = path.startsWith(misspelt) ? `/tiflash/${path.slice(misspelt.length)}` : path;
    const isHead = method === 'HEAD';
    const found = this.#find(isHead ? 'GET' : method, spelt);
    if (found !== undefined && !(isHead && found.matched.dialect === 'gostatsd')) return found;
    return this.#missed(spelt);
  }

  #find(method: string, path: string): (RouteMatch & { kind: 'route' }) | undefined {
    if (path.length > 1 && path.endsWith('/')) {
      // TiProxy writes its paths with a slash at the end: `namespace/` is all of them, not the one without a name.
      const bare = path.slice(0, -1);
      const withoutSlash = this.#lookUp(method, bare);
      if (withoutSlash?.route.dialects.includes('tiproxy')) return { kind: 'route', matched: withoutSlash, nodePath: withoutSlash.route.nodePath ?? bare };
    }
    const matched = this.#lookUp(method, path);
    return matched && { kind: 'route', matched, nodePath: matched.route.nodePath ?? path };
  }

  #lookUp(method: string, path: string): ListenerRoute | undefined {
    return this.#router.find(method as HttpMethod, path)?.store as ListenerRoute | undefined;
  }

  #missed(path: string): RouteMatch {
    const others = methods.map((method) => this.#find(method, path)).filter((match) => match !== undefined);
    const [first] = others;
    if (first === undefined) return { kind: 'unknown', dialect: this.#dialect };
    const { dialect } = first.matched;
    const allowed: string[] = others.map((match) => match.matched.route.method);
    if (allowed[0] === 'GET' && dialect !== 'gostatsd') allowed.splice(1, 0, 'HEAD');
    return { kind: 'wrong-method', dialect, allowed };
  }
}

const slash = '/'.charCodeAt(0);

/** find-my-way wants a handler; the row it stands for is in its store. */
function nothing(): void {}
