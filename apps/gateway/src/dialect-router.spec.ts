import { describe, expect, test } from '@jest/globals';
import { listenerRoutes, routes } from '@binnacle/contracts/routes';
import { DialectRouter, type RouteMatch } from './dialect-router.js';

const router = (listener: Parameters<typeof listenerRoutes>[0]) => new DialectRouter(listener, listenerRoutes(listener));
const template = (match: RouteMatch) => (match.kind === 'route' ? `${match.matched.dialect} ${match.matched.route.path} → ${match.nodePath}` : match.kind);

describe('the way from a request line to a row of the table', () => {
  test('every row is found on every listener that has it, on port 8080 in its first dialect', () => {
    for (const listener of ['all', 'tiflash', 'tiproxy', 'gostatsd', 'typesense', 'binnacle'] as const) {
      const under = router(listener);
      for (const route of listenerRoutes(listener)) {
        const match = under.match(route.method, route.path.replace(/:\w+/g, '7'));
        expect(match).toMatchObject({ kind: 'route', matched: { dialect: listener === 'all' ? route.dialects[0] : listener } });
      }
    }
    expect(routes.length).toBeGreaterThan(50);
  });

  test('/tifash/ is a way to write /tiflash/, for the node too', () => {
    expect(template(router('tiflash').match('GET', '/tifash/sync-status/5'))).toBe('tiflash /tiflash/sync-status/:table → /tiflash/sync-status/5');
    expect(router('tiflash').match('GET', '/tifash')).toMatchObject({ kind: 'unknown' });
  });

  test('what only begins like a path is not that path', () => {
    expect(router('tiflash').match('GET', '/tiflash/remote/gcXYZ')).toEqual({ kind: 'unknown', dialect: 'tiflash' });
    expect(router('tiflash').match('GET', '/tiflash/livez/')).toEqual({ kind: 'unknown', dialect: 'tiflash' });
  });

  test('a slash at the end is allowed where TiProxy writes one', () => {
    expect(template(router('tiproxy').match('GET', '/api/admin/config/'))).toBe('tiproxy /api/admin/config → /api/admin/config');
    expect(template(router('tiproxy').match('GET', '/api/admin/namespace/'))).toBe('tiproxy /api/admin/namespace → /api/admin/namespace');
    expect(template(router('tiproxy').match('GET', '/api/admin/namespace/a/'))).toBe('tiproxy /api/admin/namespace/:namespace → /api/admin/namespace/a');
    expect(template(router('tiproxy').match('GET', '/debug/pprof/'))).toBe('tiproxy /debug/pprof → /go/pprof');
    expect(template(router('tiproxy').match('GET', '/'))).toBe('unknown');
  });

  test('a row may have another path on the node', () => {
    expect(template(router('tiproxy').match('GET', '/api/metrics/'))).toBe('tiproxy /api/metrics → /metrics');
  });

  test('the path goes to the node as it came, escapes and all', () => {
    expect(template(router('typesense').match('GET', '/collections/a%20b%2Fc'))).toBe('typesense /collections/:collection → /collections/a%20b%2Fc');
    expect(template(router('typesense').match('GET', '/%63ollections'))).toBe('typesense /collections → /%63ollections');
  });

  test.each(['http://elsewhere/livez', '*', '', '/livez#x', '/collections/%zz', '//livez', '/../livez', `/collections/${'a'.repeat(3_000)}`])(
    '%s is no path of ours',
    (path) => expect(router('all').match('GET', path)).toEqual({ kind: 'unknown', dialect: 'binnacle' }),
  );

  test('a known path with another method says which it takes, in the dialect of the path', () => {
    expect(router('all').match('DELETE', '/config')).toEqual({ kind: 'wrong-method', dialect: 'typesense', allowed: ['GET', 'HEAD', 'POST'] });
    expect(router('all').match('TRACE', '/api/v1/leases')).toEqual({ kind: 'wrong-method', dialect: 'binnacle', allowed: ['GET', 'HEAD'] });
    expect(router('gostatsd').match('GET', '/v2/raw')).toEqual({ kind: 'wrong-method', dialect: 'gostatsd', allowed: ['POST'] });
  });

  test('HEAD is a GET without a body, but gostatsd refuses it', () => {
    expect(template(router('all').match('HEAD', '/livez'))).toBe('binnacle /livez → /livez');
    expect(router('gostatsd').match('HEAD', '/livez')).toEqual({ kind: 'wrong-method', dialect: 'gostatsd', allowed: ['GET'] });
    expect(router('all').match('HEAD', '/v2/raw')).toMatchObject({ kind: 'wrong-method' });
  });

  test('naming a node needs a right even where the path needs none', () => {
    const match = router('all').match('GET', '/livez');
    expect(match).toMatchObject({ matched: { route: { action: 'public' }, namedNodeRoute: { action: 'cluster:get' } } });
  });
});
