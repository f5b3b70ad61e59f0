import { expect, test } from '@jest/globals';
import { profileOf } from '../test/stacks-profile.js';
import { treeJson } from './tree-json.js';

interface Shown {
  readonly name: string;
  readonly value: number;
  readonly children?: readonly Shown[];
}

const parsed = (text: string) => JSON.parse(text) as { left: number; root: Shown };

test('a tree that is too large keeps its widest nodes, and says how many are left', () => {
  const stacks = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`main;function${index}`, index + 1]));
  const { left, root } = parsed(treeJson(profileOf(stacks), 'x', 11));
  expect(left).toBe(990);
  const [main] = root.children ?? [];
  expect(main).toMatchObject({ name: 'main', value: 500_500 });
  expect(main?.children?.map(({ value }) => value).sort((a, b) => b - a)).toEqual([1_000, 999, 998, 997, 996, 995, 994, 993, 992, 991]);
});

test('what lies deeper than anybody draws is left out, and does not overflow the stack', () => {
  const stack = Array.from({ length: 20_000 }, (_, index) => `f${index}`).join(';');
  const { left, root } = parsed(treeJson(profileOf({ [stack]: 5 }), 'x'));
  expect(left).toBe(20_000 - 512);
  expect(root.value).toBe(5);
});
