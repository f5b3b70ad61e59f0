import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { moveBlocker, moveBlockers, type MoveBlockerCode } from '../src/migration/move-blocker.js';
import { attemptFailures } from '../src/migration/move-refused.js';

const page = readFileSync(new URL('../../../docs/sql-proxy.md', import.meta.url), 'utf8');
const [, section = ''] = page.split('\n## What can move and what cannot\n');

/** Codes in the first column of the tables behind a sentence. */
function codesBehind(sentence: string): string[] {
  const [, behind = ''] = section.split('\n## ')[0]!.split(sentence);
  const table = behind.slice(behind.indexOf('|'), behind.indexOf('\n\n', behind.indexOf('|')));
  return [...table.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, code]) => code!).toSorted();
}

test('the page names every reason that keeps a session, and no other', () => {
  const codes = Object.keys(moveBlockers) as MoveBlockerCode[];
  const passing = codes.filter((code) => moveBlocker(code).untilNextBoundary);
  expect(codesBehind('Keeps it, and ends by itself:')).toEqual(passing.toSorted());
  expect(codesBehind('Keeps it until the client undoes it')).toEqual(codes.filter((code) => !passing.includes(code)).toSorted());
  expect(codesBehind('What an attempt may answer besides')).toEqual(Object.keys(attemptFailures).toSorted());
});
