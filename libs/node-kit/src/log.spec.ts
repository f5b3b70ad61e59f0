import { expect, test } from '@jest/globals';
import { LogConfig } from './config.js';
import { createLog, NestLog, secretMasker } from './log.js';

function captured(config: Partial<LogConfig> = {}, secrets: string[] = []) {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const log = createLog({ ...new LogConfig(), format: 'json', ...config }, secretMasker(secrets), destination);
  return { log, lines, entries: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

test('a line is one JSON object with time, level and message', () => {
  const { log, entries } = captured();
  log.info({ lease: 'leader' }, 'taken');
  expect(entries()[0]).toMatchObject({ level: 'info', lease: 'leader', msg: 'taken', time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/) });
});

test('a known secret is masked wherever it stands, in message, fields and error', () => {
  const secret = 'k3y "with quotes"';
  const { log, lines } = captured({}, [secret]);
  log.error({ err: new Error(`GET /x?key=${secret}`), url: `/x?key=${secret}` }, `refused ${secret}`);
  expect(lines[0]).not.toContain('k3y');
  expect(lines[0]).toContain('[secret]');
});

test('headers that carry keys are masked even when their value is not known', () => {
  const { log, lines } = captured();
  log.info({ headers: { 'x-typesense-api-key': 'one', authorization: 'Bearer two', host: 'kept' } }, 'request');
  log.info({ req: { headers: { 'x-binnacle-cluster-secret': 'three' } } }, 'request');
  expect(lines.join('')).not.toMatch(/one|two|three/);
  expect(lines[0]).toContain('kept');
});

test('a secret that lies inside another one leaves no rest of it', () => {
  expect(secretMasker(['pass', 'password-2'])('x password-2 x')).toBe('x [secret] x');
});

test('what is below the level is not written', () => {
  const { log, lines } = captured({ level: 'warn' });
  log.info('quiet');
  expect(lines).toEqual([]);
});

test('pretty lines hold the message in plain words', () => {
  const { log, lines } = captured({ format: 'pretty' });
  log.info('node runs');
  expect(lines.join('')).toMatch(/INFO.*: .*node runs/);
});

test("Nest's messages keep their level, context and stack; those about wiring are for debugging only", () => {
  const { log, entries } = captured();
  const nest = new NestLog(log);
  nest.log('mapped {/x, GET} route', 'RouterExplorer');
  nest.log('three rows', 'Importer');
  nest.error('it broke', 'Error: it broke\n    at x', 'Importer');
  nest.error(new Error('thrown'));
  expect(entries()).toMatchObject([
    { level: 'info', context: 'Importer', msg: 'three rows' },
    { level: 'error', context: 'Importer', stack: 'Error: it broke\n    at x', msg: 'it broke' },
    { level: 'error', msg: 'thrown', err: { message: 'thrown' } },
  ]);
});
