import { expect, test } from '@jest/globals';
import type { CommandResult } from '../command-result.js';
import { ResultJoiner } from './result-joiner.js';

function result(ordinal: number): CommandResult {
  return { connectionId: 1, ordinal, latencyUs: 1, errorCode: 0, rows: 0, affectedRows: 0, ordered: '', unordered: '' };
}

/** `t3`: a result of then; `n3`: of now; `s3`: skipped now; `e`: no more of then. Gives what was joined: `3` both, `3-` only now. */
function joined(events: string): string {
  const all: string[] = [];
  const joiner = new ResultJoiner<undefined>((then, { ordinal }) => all.push(then === undefined ? `${ordinal}-` : `${ordinal}`));
  for (const event of events.split(' ')) {
    const ordinal = Number(event.slice(1));
    if (event[0] === 't') joiner.addThen(result(ordinal));
    else if (event[0] === 'n') joiner.addNow({ ordinal, now: result(ordinal), context: undefined });
    else if (event[0] === 's') joiner.skipped(ordinal);
    else joiner.end();
  }
  return all.join(' ') + (joiner.isWaitingForThen ? ' waits' : '');
}

test('results of then and now find each other, whichever comes first', () => {
  expect(joined('t1 n1 n2 t2 t3 t4 n3 n4 n5 n6 t5 t6')).toBe('1 2 3 4 5 6');
});

test('gaps on either side are known as soon as a later one comes', () => {
  expect(joined('n1 n2 t2 n3')).toBe('1- 2 waits');
  expect(joined('t3 n1 n2 n3')).toBe('1- 2- 3');
  expect(joined('t1 t2 t3 s1 s2 n3')).toBe('3');
  expect(joined('s1 t1 n2 t2')).toBe('2');
  expect(joined('t1 n3 t2 t3')).toBe('3');
});

test('what still waits when then has ended has no partner; what came of then may still find one', () => {
  expect(joined('n1 t1 n2 e')).toBe('1 2-');
  expect(joined('t1 t2 e n1 n2')).toBe('1 2');
});
