import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { trafficPlace, trafficRoots } from './traffic-place.js';

let top: string;
let dataDir: string;
let root: string;

beforeAll(() => {
  top = realpathSync(mkdtempSync(join(tmpdir(), 'binnacle-places-')));
  [dataDir, root] = [join(top, 'data'), join(top, 'captures')];
  mkdirSync(join(dataDir, 'storage'), { recursive: true });
  mkdirSync(root);
  mkdirSync(join(top, 'elsewhere'));
  symlinkSync(join(top, 'elsewhere'), join(root, 'link'));
  symlinkSync(join(top, 'nowhere'), join(root, 'dangling'));
  symlinkSync(root, join(top, 'alias'));
  writeFileSync(join(root, 'file'), '');
});
afterAll(() => rmSync(top, { recursive: true }));

const place = (text: string, roots: readonly string[] = [root]): Promise<string> => trafficPlace('output', text, trafficRoots(dataDir, roots));

test('a folder under a root is taken, as a path or as a URL of it, also where it is not there yet', async () => {
  expect(await place(join(root, 'a/b'))).toBe(join(root, 'a/b'));
  expect(await place(`file://${root}/a`)).toBe(join(root, 'a'));
  expect(await place(`local://${root}/a`)).toBe(join(root, 'a'));
  expect(await place(join(top, 'alias', 'a'))).toBe(join(root, 'a'));
});

test('without roots it is `traffic` in the data folder', async () => {
  expect(await place(join(dataDir, 'traffic/monday'), [])).toBe(join(dataDir, 'traffic/monday'));
  await expect(place(join(dataDir, 'storage'), [])).rejects.toThrow(`output must lie in one of the folders or buckets that proxy.traffic-roots names: ${dataDir}/traffic`);
});

describe('what would leave the roots is refused', () => {
  test.each([
    ['a relative path', 'captures/a', 'absolute path'],
    ['a path with ..', '/captures/../etc', '..'],
    ['a path with a newline', '/captures/a\nb', 'control characters'],
    ['another folder', '/etc/cron.d', 'must lie in one of'],
    ['a bucket', 's3://bucket/prefix', 'must lie in one of'],
    ['other storage', 'gs://bucket/prefix', 'other kinds of storage'],
    ['an address of the web', 'https://example.com/', 'other kinds of storage'],
    ['a file URL of another host', 'file://host/folder', 'file:///FOLDER'],
  ])('%s', (_what, text, message) => expect(place(text)).rejects.toThrow(message));

  test('links out of it, links to nowhere, the root itself, and what is no folder', async () => {
    await expect(place(join(root, 'link/a'))).rejects.toThrow('must lie in one of');
    await expect(place(join(root, 'dangling/a'))).rejects.toThrow('cannot be used');
    await expect(place(join(root, 'file/a'))).rejects.toThrow('cannot be used');
    await expect(place(root)).rejects.toThrow('not that itself');
    await expect(place(`${root}-too/a`)).rejects.toThrow('must lie in one of');
  });

  test('a root around the data folder does not open that', async () => {
    expect(await place(join(top, 'new'), [top])).toBe(join(top, 'new'));
    await expect(place(join(dataDir, 'storage/x'), [top])).rejects.toThrow('output lies in the data folder');
  });
});

describe('buckets', () => {
  const roots = ['s3://captures/prod'];

  test('are taken under a root that names them', async () => {
    expect(await place('s3://captures/prod/monday/', roots)).toBe('s3://captures/prod/monday');
    await expect(place('s3://captures/production', roots)).rejects.toThrow('must lie in one of');
    await expect(place('s3://captures/prod/../dev', roots)).rejects.toThrow('..');
    await expect(place('s3://other/prod/x', roots)).rejects.toThrow('must lie in one of');
  });

  test('take neither credentials nor an endpoint from a client, and do not repeat them', async () => {
    for (const text of ['s3://captures/prod/x?access-key=AKIA&secret-access-key=hunter2', 's3://AKIA:hunter2@captures/prod/x', 's3://captures/prod/x?endpoint=http://169.254.169.254/']) {
      const error = await place(text, roots).catch((refused: Error) => refused.message);
      expect(error).toContain('credentials come from its environment');
      expect(error).not.toContain('hunter2');
    }
  });
});
