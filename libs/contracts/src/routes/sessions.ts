import type { Route, TargetRule } from '../route.js';
import { defineRoute, minuteMs, type RouteFacts } from './define-route.js';

/* Binnacle's own API of the SQL proxy: sessions, and the backends they are on. */

/** Any proxy node answers for the one that holds it, or is named: each knows its own sessions and asks the others. */
const ofProxy: TargetRule = { kind: 'subject', role: 'proxy', subjectRole: 'proxy' };

/** What is read is read of all of them at once. */
const served = (method: Route['method'], path: string, facts: Omit<RouteFacts, 'target'>): Route =>
  defineRoute(['binnacle'], method, path, { target: method === 'GET' ? { ...ofProxy, together: true } : ofProxy, ...facts });

export const sessionRoutes: readonly Route[] = [
  served('GET', '/api/v1/sessions', {
    summary: 'SQL sessions of all proxy nodes or of ?node=: where each is, whether it can move, and exactly why not',
    action: 'sessions:list',
    query: [
      { name: 'backend', type: 'string', description: 'Only those on this backend, host:port.' },
      { name: 'user', type: 'string', description: 'Only those of this user.' },
      { name: 'movable', type: 'boolean', description: 'Only those that can move, or only those that cannot.' },
      { name: 'limit', type: 'integer', description: 'How many, by id: 1 to 5000; 100 if absent.' },
    ],
  }),
  served('GET', '/api/v1/sessions/:id', { summary: 'One SQL session', action: 'sessions:get' }),
  served('POST', '/api/v1/sessions/:id/migrate', {
    summary: 'Move a session to another backend, `{"to": "host:port"}` or the best one: 409 says exactly why not',
    action: 'sessions:migrate',
    deadlineMs: minuteMs,
  }),
  served('DELETE', '/api/v1/sessions/:id', { summary: 'End a session, as KILL does', action: 'sessions:delete' }),
  served('GET', '/api/v1/backends', { summary: 'Backends of the SQL proxy: health, score, sessions of all proxy nodes', action: 'backends:list' }),
  served('GET', '/api/v1/backends/:id', { summary: 'One backend, and why sessions stay while it is drained', action: 'backends:get' }),
  served('POST', '/api/v1/backends/:id/drain', {
    summary: 'Take a backend out of every proxy: no new session, and those it has move away as they can',
    action: 'backends:drain',
  }),
  served('DELETE', '/api/v1/backends/:id/drain', { summary: 'Let a drained backend take sessions again', action: 'backends:drain' }),
];
