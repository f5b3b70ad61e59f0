import { expect, test } from '@jest/globals';
import { BinnacleError } from '@binnacle/contracts/errors';
import { EventLog } from '@binnacle/node-kit/event-log';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { type TaskChange, Tasks, type RunningTask } from './tasks.js';

function openTasks() {
  const clock = new FakeClock();
  const log = new EventLog<TaskChange>(clock, 1_000);
  const told: TaskChange[] = [];
  log.onAppend(({ change }) => told.push(change));
  return { clock, told, tasks: new Tasks({ clock } as unknown as NodeContext, log) };
}

test('a task is listed while it runs, with its progress, and afterwards with what it came to', async () => {
  const { clock, told, tasks } = openTasks();
  let running: RunningTask | undefined;
  let finish = (): void => {};
  const done = tasks.run('compaction', 'engine', (task) => {
    running = task;
    return new Promise<string>((resolve) => (finish = () => resolve('value')));
  });
  running?.progress({ done: 3, total: 10, unit: 'bytes' });
  expect(tasks.all()).toEqual([
    { id: expect.any(String), kind: 'compaction', subject: 'engine', state: 'running', startedAt: '2026-01-01T00:00:00.000Z', progress: { done: 3, total: 10, unit: 'bytes' } },
  ]);
  await clock.advance(2_000);
  running?.result({ bytesAfter: 4 });
  finish();
  expect(await done).toBe('value');
  expect(tasks.all()).toMatchObject([{ state: 'done', endedAt: '2026-01-01T00:00:02.000Z', result: { bytesAfter: 4 } }]);
  expect(told.map(({ type }) => type)).toEqual(['task-started', 'task-progressed', 'task-ended']);
  running?.progress({ done: 11, unit: 'bytes' });
  expect(told).toHaveLength(3);
});

test('clients hear of progress four times a second, however often it is reported', async () => {
  const { clock, told, tasks } = openTasks();
  await tasks.run('snapshot', '/x', async (task) => {
    for (let done = 0; done < 100; done++) {
      task.progress({ done, unit: 'files' });
      await clock.advance(10);
    }
  });
  expect(told.filter(({ type }) => type === 'task-progressed')).toHaveLength(4);
});

test('a failed task says why when that is for clients, and not when it is internal', async () => {
  const { tasks } = openTasks();
  const failing = (error: Error) => tasks.run('snapshot', '/x', async () => Promise.reject(error));
  await expect(failing(new BinnacleError('CONFLICT', 'it is taken'))).rejects.toThrow('it is taken');
  await expect(failing(new Error('password is sesame'))).rejects.toThrow('sesame');
  expect(tasks.all().map(({ state, error }) => [state, error])).toEqual([
    ['failed', 'internal error: the log of the node has the reason'],
    ['failed', 'it is taken'],
  ]);
});

test('of the tasks that ended the last hundred are kept, the latest first', async () => {
  const { tasks } = openTasks();
  for (let count = 0; count < 103; count++) await tasks.run('snapshot', String(count), async () => {});
  const subjects = tasks.all().map(({ subject }) => subject);
  expect([subjects.length, subjects[0], subjects.at(-1)]).toEqual([100, '102', '3']);
});
