import { expect, test } from '@jest/globals';
import { Counter, Gauge, Registry } from 'prom-client';
import { expvar, variablesOf } from './expvar.js';

test('metrics are variables by what their names have of their own, those with labels by their values', async () => {
  const metrics = new Registry();
  const registers = [metrics];
  new Counter({ name: 'binnacle_x_lines_total', help: 'h', registers, collect() { this.reset(); this.inc(7); } });
  new Gauge({ name: 'binnacle_x_bytes', help: 'h', registers }).set(1.5);
  const bad = new Counter({ name: 'binnacle_x_bad_total', help: 'h', labelNames: ['why', 'where'], registers });
  bad.inc({ why: 'long', where: 'udp' }, 2);
  bad.inc({ why: 'type', where: 'tcp' }, 3);
  new Counter({ name: 'binnacle_y_total', help: 'h', registers });
  expect(await variablesOf(metrics, 'binnacle_x_')).toEqual({ lines: 7, bytes: 1.5, bad: { 'long,udp': 2, 'type,tcp': 3 } });
});

test('parts add variables to those of Go', async () => {
  const parts = [{ name: 'a' }, { name: 'b', variables: async () => ({ b: { lines: 1 } }) }];
  expect(Object.keys(await expvar(new Registry(), (text) => text, parts))).toEqual(['cmdline', 'memstats', 'b']);
});
