import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { portsOf, ProductProcess, root, temporaryFolder } from './product.js';

test('npm start builds, runs, drains on the double Ctrl-C that npm and the terminal send, and exits 0', async () => {
  const folder = temporaryFolder('launch');
  const env = { BINNACLE_PORT_OFFSET: String(portsOf('launch').offset), BINNACLE_DATA_DIR: folder.path };
  const product = new ProductProcess([process.execPath, 'apps/cli/launch/start.mjs'], env);
  await product.untilPrinted(/binnacle ready in \d+ ms/);
  expect(product.output()).toMatch(/^jemalloc is preloaded: \S*libjemalloc\.so\.2 \(prof:true,/m);

  product.signal('SIGINT');
  expect(await product.stop('SIGINT')).toBe(0);
  folder.remove();
});

/** What the launcher would start the product with. */
function preloaded(env: Record<string, string>, options: object): { env: Record<string, string>; line: string } {
  const script = `const { withJemalloc } = await import(${JSON.stringify(`${root}/apps/cli/launch/preload.mjs`)});
    console.log(JSON.stringify(withJemalloc(${JSON.stringify(env)}, ${JSON.stringify(options)})));`;
  return JSON.parse(execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })) as ReturnType<typeof preloaded>;
}

test('the launcher preloads jemalloc where it finds it, leaves what the user has set, and else says what to install', () => {
  const folder = temporaryFolder('preload');
  mkdirSync(`${folder.path}/lib`);
  writeFileSync(`${folder.path}/lib/libjemalloc.so.2`, '');
  const folders = [`${folder.path}/none/`, `${folder.path}/lib/`];
  const library = `${folder.path}/lib/libjemalloc.so.2`;

  const found = preloaded({ A: '1' }, { folders });
  expect(found.env).toEqual({ A: '1', LD_PRELOAD: library, MALLOC_CONF: expect.stringMatching(/^prof:true,prof_active:false,/) });
  expect(found.line).toContain(library);
  expect(preloaded({ MALLOC_CONF: 'narenas:1' }, { folders }).env).toEqual({ LD_PRELOAD: library, MALLOC_CONF: 'narenas:1' });

  const other = { LD_PRELOAD: '/usr/lib/libtcmalloc.so', MALLOC_CONF: 'x' };
  expect(preloaded(other, { folders })).toEqual({ env: other, line: 'LD_PRELOAD is set already: /usr/lib/libtcmalloc.so' });
  const missing = preloaded({}, { folders: [`${folder.path}/none/`] });
  expect(missing).toEqual({ env: {}, line: expect.stringContaining('apt-get install libjemalloc2') });
  expect(preloaded({}, { folders, platform: 'darwin' })).toEqual({ env: {}, line: expect.stringContaining('needs Linux') });
  folder.remove();
});
