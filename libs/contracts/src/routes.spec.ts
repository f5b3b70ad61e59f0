import { describe, expect, test } from '@jest/globals';
import findMyWay from 'find-my-way';
import { dialects, type Dialect } from './route.js';
import { listenerRoutes, routes } from './routes.js';

const listeners = [...dialects, 'all'] as const;

/** Typed off the four documents, the wire page and the list of TiProxy's API: what the table must hold, and on which listener. */
const documented: Record<Exclude<Dialect, 'binnacle'>, readonly string[]> = {
  tiflash: [
    'GET /debug/pprof/profile',
    'GET /debug/pprof/set_prof_active',
    'GET /debug/pprof/set_prof_inactive',
    'GET /debug/pprof/heap',
    'GET /debug/pprof/heap_activate',
    'GET /debug/pprof/heap_list',
    'GET /debug/pprof/heap_deactivate',
    'GET /debug/pprof/symbol',
    'POST /debug/pprof/symbol',
    'GET /debug/pprof/arena_purge',
    'GET /debug/pprof/memory_status',
    'GET /debug/pprof/cmdline',
    'GET /config',
    'POST /config',
    'GET /metrics',
    'GET /status',
    'PUT /log-level',
    'GET /tiflash/store-status',
    'GET /tiflash/livez',
    'GET /tiflash/readyz',
    'GET /tiflash/sync-status/100',
    'GET /tiflash/sync-status/keyspace/1/table/100',
    'GET /tiflash/sync-region/keyspace/1',
    'GET /tiflash/sync-schema/keyspace/1/table/100',
    'GET /tiflash/remote/owner/info',
    'GET /tiflash/remote/owner/resign',
    'GET /tiflash/remote/gc',
    'GET /tiflash/remote/upload',
    'GET /tiflash/remote/info',
    'GET /tiflash/remote/info/1,2',
    'GET /tiflash/cache/evict/mark',
    'GET /tiflash/cache/evict/minmax',
    'GET /tiflash/remote/cache/info',
    'GET /tiflash/remote/cache/evict',
    'GET /tiflash/remote/cache/evict/size/1024',
    'GET /tiflash/remote/cache/evict/type/5',
    'GET /tiflash/remote/cache/evict/5',
  ],
  gostatsd: [
    'GET /debug/pprof/trace',
    'GET /debug/pprof/profile',
    'GET /debug/pprof/heap',
    'GET /expvar',
    'GET /healthcheck',
    'GET /deepcheck',
    'POST /v2/raw',
    'POST /v2/event',
    'POST /v1/raw',
    'POST /v1/event',
  ],
  typesense: [
    'POST /operations/snapshot',
    'POST /operations/db/compact',
    'POST /operations/vote',
    'POST /operations/cache/clear',
    'POST /operations/reset_peers',
    'GET /operations/schema_changes',
    'POST /config',
    'GET /config',
    'GET /metrics.json',
    'GET /stats.json',
    'GET /health',
    'GET /debug',
    'GET /status',
    'GET /keys',
    'POST /keys',
    'GET /keys/1',
    'DELETE /keys/1',
    'GET /collections',
    'POST /collections',
    'GET /collections/products',
    'POST /collections/products/documents',
    'POST /collections/products/documents/import',
    'GET /collections/products/documents/export',
    'GET /collections/products/documents/search',
    'GET /collections/products/documents/124',
    'POST /multi_search',
    'PUT /aliases/products',
  ],
  tiproxy: [
    'GET /api/admin/config',
    'PUT /api/admin/config',
    'GET /api/admin/namespace',
    'GET /api/admin/namespace/a',
    'PUT /api/admin/namespace/a',
    'DELETE /api/admin/namespace/a',
    'POST /api/admin/namespace/commit',
    'GET /api/backend/metrics',
    'GET /api/debug/health',
    'PUT /api/debug/health',
    'DELETE /api/debug/health',
    'POST /api/debug/redirect',
    'GET /api/debug/pprof',
    'GET /api/debug/pprof/profile',
    'GET /api/debug/pprof/heap',
    'GET /api/debug/pprof/trace',
    'GET /debug/pprof',
    'GET /debug/pprof/profile',
    'GET /debug/pprof/heap',
    'GET /debug/pprof/cmdline',
    'GET /debug/pprof/symbol',
    'POST /debug/pprof/symbol',
    'GET /metrics',
    'GET /api/metrics',
    'POST /api/traffic/capture',
    'POST /api/traffic/replay',
    'POST /api/traffic/cancel',
    'GET /api/traffic/show',
    'GET /api/traffic/report',
  ],
};

/** All that is answered. */
const served = [
  'PUT /log-level',
  'POST /v2/raw',
  'POST /v2/event',
  'POST /v1/raw',
  'POST /v1/event',
  'GET /metrics/ingested',
  'POST /api/traffic/capture',
  'POST /api/traffic/replay',
  'POST /api/traffic/cancel',
  'GET /api/traffic/show',
  'GET /api/traffic/report',
  'GET /livez',
  'GET /readyz',
  'GET /metrics',
  'GET /api/metrics',
  'GET /healthcheck',
  'GET /metrics.json',
  'GET /expvar',
  'GET /debug',
  'GET /status',
  'GET /tiflash/store-status',
  'GET /tiflash/livez',
  'GET /tiflash/readyz',
  'GET /deepcheck',
  'GET /health',
  'GET /tiflash/remote/owner/info',
  'GET /tiflash/remote/owner/resign',
  'GET /tiflash/cache/evict/mark',
  'GET /tiflash/cache/evict/minmax',
  'GET /tiflash/remote/cache/info',
  'GET /tiflash/remote/cache/evict',
  'GET /tiflash/remote/cache/evict/:type',
  'GET /tiflash/remote/cache/evict/size/:size',
  'GET /tiflash/remote/cache/evict/type/:type',
  'GET /tiflash/remote/gc',
  'GET /tiflash/remote/upload',
  'GET /tiflash/remote/info',
  'GET /tiflash/remote/info/:stores',
  'GET /tiflash/sync-status/:table',
  'GET /tiflash/sync-status/keyspace/:keyspace/table/:table',
  'GET /tiflash/sync-region/keyspace/:keyspace',
  'GET /tiflash/sync-schema/keyspace/:keyspace/table/:table',
  'GET /tiflash/sync-status',
  'GET /tiflash/sync-status/keyspace/:keyspace',
  'GET /tiflash/sync-region',
  'GET /tiflash/sync-region/keyspace',
  'GET /api/v1/remote/leaks',
  'POST /operations/vote',
  'POST /operations/snapshot',
  'POST /operations/db/compact',
  'POST /operations/cache/clear',
  'POST /operations/reset_peers',
  'POST /api/v1/sql',
  'GET /api/v1/tasks',
  'GET /api/v1/tasks/events',
  'GET /api/v1/cluster',
  'GET /api/v1/cluster/events',
  'GET /api/v1/leases',
  'GET /api/v1/leases/:name/history',
  'GET /stats.json',
  'GET /config',
  'POST /config',
  'GET /keys',
  'POST /keys',
  'GET /keys/:id',
  'DELETE /keys/:id',
  'GET /api/admin/config',
  'PUT /api/admin/config',
  'GET /api/admin/namespace',
  'GET /api/admin/namespace/:namespace',
  'PUT /api/admin/namespace/:namespace',
  'DELETE /api/admin/namespace/:namespace',
  'POST /api/admin/namespace/commit',
  'GET /api/backend/metrics',
  'GET /api/debug/health',
  'PUT /api/debug/health',
  'DELETE /api/debug/health',
  'POST /api/debug/redirect',
  'GET /api/v1/routes',
  'GET /api/v1/openapi.json',
  'GET /api/v1/profiles',
  'GET /api/v1/profiles/merged',
  'GET /api/v1/profiles/:id',
  'GET /api/v1/profiles/:id/flame-graph',
  'GET /api/v1/profiles/:id/top',
  'GET /api/v1/profiles/:base/diff/:other',
  'GET /debug/pprof/heap_activate',
  'GET /debug/pprof/heap_list',
  'GET /debug/pprof/heap_deactivate',
  'GET /debug/pprof',
  'GET /debug/pprof/profile',
  'GET /debug/pprof/heap',
  'GET /debug/pprof/trace',
  'GET /debug/pprof/set_prof_active',
  'GET /debug/pprof/set_prof_inactive',
  'GET /debug/pprof/symbol',
  'POST /debug/pprof/symbol',
  'GET /debug/pprof/arena_purge',
  'GET /debug/pprof/memory_status',
  'GET /debug/pprof/cmdline',
  'GET /api/debug/pprof',
  'GET /api/debug/pprof/profile',
  'GET /api/debug/pprof/heap',
  'GET /api/debug/pprof/trace',
  'GET /api/debug/pprof/cmdline',
  'GET /api/debug/pprof/symbol',
  'POST /api/debug/pprof/symbol',
  'GET /collections',
  'POST /collections',
  'GET /collections/:collection',
  'PATCH /collections/:collection',
  'DELETE /collections/:collection',
  'GET /aliases',
  'GET /aliases/:alias',
  'PUT /aliases/:alias',
  'DELETE /aliases/:alias',
  'POST /collections/:collection/documents',
  'PATCH /collections/:collection/documents',
  'DELETE /collections/:collection/documents',
  'POST /collections/:collection/documents/import',
  'GET /collections/:collection/documents/export',
  'GET /collections/:collection/documents/search',
  'POST /multi_search',
  'GET /collections/:collection/documents/:document',
  'PATCH /collections/:collection/documents/:document',
  'DELETE /collections/:collection/documents/:document',
  'GET /operations/schema_changes',
  'GET /api/v1/sessions',
  'GET /api/v1/sessions/:id',
  'POST /api/v1/sessions/:id/migrate',
  'DELETE /api/v1/sessions/:id',
  'GET /api/v1/backends',
  'GET /api/v1/backends/:id',
  'POST /api/v1/backends/:id/drain',
  'DELETE /api/v1/backends/:id/drain',
];

const named = (route: { method: string; path: string }): string => `${route.method} ${route.path}`;

function router(listener: Dialect | 'all') {
  const found = findMyWay<findMyWay.HTTPVersion.V1>();
  for (const route of listenerRoutes(listener)) found.on(route.method, route.path, () => route);
  return (request: string) => {
    const [method, path] = request.split(' ') as [findMyWay.HTTPMethod, string];
    return found.find(method, path)?.handler({} as never, {} as never, {}, undefined, {}) as (typeof routes)[number] | undefined;
  };
}

describe('the route table', () => {
  test.each(Object.entries(documented))(
    'has every documented path of %s, on its listener and on port 8080',
    (dialect, requests) => {
      const own = router(dialect as Dialect);
      const all = router('all');
      expect(requests.filter((request) => own(request) === undefined)).toEqual([]);
      expect(requests.filter((request) => all(request) === undefined)).toEqual([]);
    },
  );

  test.each(listeners)('names each method and path of %s once', (listener) => {
    const names = listenerRoutes(listener).map(named);
    expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
  });

  test('puts no dialect on the listener of another', () => {
    const tiflash = router('tiflash');
    const typesense = router('typesense');
    expect(tiflash('GET /collections')).toBeUndefined();
    expect(typesense('GET /tiflash/store-status')).toBeUndefined();
    expect(typesense('GET /api/v1/cluster')).toBeUndefined();
  });

  test('serves every row on port 8080 but those that lose a clash', () => {
    const kept = new Set(listenerRoutes('all'));
    const lost = routes.filter((route) => !kept.has(route)).map((route) => `${named(route)} ${route.dialects.join('+')}`);
    expect(lost.sort()).toEqual([
      'GET /debug/pprof/heap gostatsd',
      'GET /debug/pprof/heap tiproxy',
      'GET /debug/pprof/profile gostatsd+tiproxy',
    ]);
  });

  test.each(['/debug/pprof/profile', '/debug/pprof/heap'])('lets TiFlash answer %s on port 8080', (path) => {
    expect(router('all')(`GET ${path}`)?.dialects).toEqual(['tiflash']);
    expect(router('gostatsd')(`GET ${path}`)?.dialects).toContain('gostatsd');
    expect(router('tiproxy')(`GET ${path}`)?.dialects).toContain('tiproxy');
  });

  test.each(listeners)('answers probes and metrics on %s', (listener) => {
    const find = router(listener);
    for (const path of ['/livez', '/readyz', '/healthcheck', '/metrics']) expect(find(`GET ${path}`)).toBeDefined();
  });

  test('takes an id for a document, and search, export and import for what they are', () => {
    const find = router('typesense');
    expect(find('GET /collections/a/documents/search')?.action).toBe('documents:search');
    expect(find('GET /collections/a/documents/export')?.action).toBe('documents:export');
    expect(find('GET /collections/a/documents/7')?.action).toBe('documents:get');
    expect(find('POST /collections/a/documents/import')?.operation).toBe('import');
  });

  test('has exactly these rows', () => {
    const names = routes.map(named);
    expect([...new Set(names)].sort()).toEqual([...served].sort());
  });
});

describe('every row', () => {
  test('needs a scope of the form resource:verb, or is one of the few that are public', () => {
    const open = routes.filter((route) => route.action === 'public').map(named);
    expect(open.sort()).toEqual([
      'GET /health',
      'GET /healthcheck',
      'GET /livez',
      'GET /readyz',
      'GET /tiflash/livez',
      'GET /tiflash/readyz',
    ]);
    expect(routes.filter((route) => route.action !== 'public' && !/^[a-z0-9_./]+:[a-z]+$/.test(route.action)).map(named)).toEqual(
      [],
    );
  });

  test('bounds the wait and the body', () => {
    for (const route of routes) {
      expect(route.deadlineMs).toBeGreaterThanOrEqual(1_000);
      expect(route.deadlineMs).toBeLessThanOrEqual(30 * 60_000);
      // An import streams; whatever else has a body is held in memory.
      expect(route.bodyBytesMax).toBeLessThanOrEqual(route.operation === 'import' ? 16 * 1_024 ** 3 : 16 * 1_024 ** 2);
    }
  });

  test('gives a capture of 600 s time to finish', () => {
    expect(
      routes.filter((route) => route.query?.some((parameter) => parameter.name === 'seconds') && route.deadlineMs <= 600_000),
    ).toEqual([]);
  });

  test('may be sent again only if a second request does no harm', () => {
    const again = routes.filter((route) => route.retryable);
    expect(
      again
        .filter((route) => route.method !== 'GET')
        .map(named)
        .sort(),
    ).toEqual(['POST /api/debug/pprof/symbol', 'POST /debug/pprof/symbol', 'POST /multi_search']);
    const changing = /resign|\/gc$|upload|evict|sync-schema|set_prof|_activate|_deactivate|arena_purge|profile$|trace$/;
    expect(again.filter((route) => changing.test(route.path)).map(named)).toEqual([]);
  });

  test('may be sent to every node at once if it reads, or acts on one node', () => {
    const every = routes.filter((route) => route.everyNode);
    expect(
      every
        .filter((route) => route.method !== 'GET')
        .map(named)
        .sort(),
    ).toEqual(['POST /api/debug/redirect', 'POST /operations/cache/clear', 'POST /operations/db/compact', 'POST /operations/snapshot', 'PUT /log-level']);
    expect(every.filter((route) => route.produces === 'text/event-stream')).toEqual([]);
  });

  test('is about all nodes together where profiles and lists of sessions merge, and where a snapshot or an upload is of the whole cluster', () => {
    const together = routes.filter(({ target }) => target.kind === 'subject' && target.together).map((route) => `${named(route)} ${route.dialects.join('+')}`);
    expect(together.sort()).toEqual([
      'GET /api/debug/pprof/heap tiproxy',
      'GET /api/debug/pprof/profile tiproxy',
      'GET /api/v1/backends binnacle',
      'GET /api/v1/backends/:id binnacle',
      'GET /api/v1/profiles binnacle',
      'GET /api/v1/profiles/merged binnacle',
      'GET /api/v1/sessions binnacle',
      'GET /api/v1/sessions/:id binnacle',
      'GET /debug/pprof/heap gostatsd',
      'GET /debug/pprof/heap tiflash',
      'GET /debug/pprof/heap tiproxy',
      'GET /debug/pprof/profile gostatsd+tiproxy',
      'GET /debug/pprof/profile tiflash',
      'GET /tiflash/remote/upload tiflash',
      'POST /operations/snapshot typesense',
    ]);
  });

  test('lets any certificate in on the three paths that TiFlash exempts', () => {
    const exempt = listenerRoutes('tiflash').filter((route) => route.anyCertificate);
    expect(exempt.map(named).sort()).toEqual(['GET /debug/pprof/profile', 'GET /metrics', 'GET /status']);
  });

  test('is written without a slash at the end', () => {
    expect(routes.filter((route) => route.path.endsWith('/'))).toEqual([]);
  });
});
