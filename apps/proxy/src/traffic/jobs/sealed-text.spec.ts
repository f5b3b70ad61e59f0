import { expect, test } from '@jest/globals';
import { openText, sealText } from './sealed-text.js';

test('what is sealed opens under the same secret alone, unchanged alone, and never looks the same twice', () => {
  const sealed = sealText('{"password":"hunter2"}', 'secret of the cluster');
  expect(openText(sealed, 'secret of the cluster')).toBe('{"password":"hunter2"}');
  expect(Buffer.from(sealed, 'base64').toString('latin1')).not.toContain('hunter2');
  expect(sealText('{"password":"hunter2"}', 'secret of the cluster')).not.toBe(sealed);
  expect(() => openText(sealed, 'another secret')).toThrow();
  const changed = Buffer.from(sealed, 'base64');
  changed[30] = changed[30]! ^ 1;
  expect(() => openText(changed.toString('base64'), 'secret of the cluster')).toThrow();
});
