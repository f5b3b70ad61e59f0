import { expect, test } from '@jest/globals';
import { portsOf, ProductProcess, temporaryFolder } from './product.js';

test('npm start builds, runs, drains on the double Ctrl-C that npm and the terminal send, and exits 0', async () => {
  const folder = temporaryFolder('launch');
  const env = { BINNACLE_PORT_OFFSET: String(portsOf('launch').offset), BINNACLE_DATA_DIR: folder.path };
  const product = new ProductProcess([process.execPath, 'apps/cli/launch/start.mjs'], env);
  await product.untilPrinted(/binnacle ready in \d+ ms/);

  product.signal('SIGINT');
  expect(await product.stop('SIGINT')).toBe(0);
  folder.remove();
}, 60_000);
