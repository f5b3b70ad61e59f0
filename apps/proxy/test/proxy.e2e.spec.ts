import { expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { NodeConfig } from '@binnacle/node-kit/config';
import { startNode } from '@binnacle/node-kit/run-node';
import { ProxyModule } from '../src/proxy.module.js';

test('a proxy node registers, and answers probes, health and metrics', async () => {
  const config = new NodeConfig();
  config.dataDir = mkdtempSync(join(tmpdir(), 'binnacle-proxy-'));
  Object.assign(config.node, { id: 'n0', port: 0 });
  Object.assign(config.health, { eventLoopDelayMsMax: 60_000, diskFreePercentMin: 0, memoryFreePercentMin: 0 });
  config.log.level = 'silent';
  config.proxy.addr = ['127.0.0.1:0'];
  const node = await startNode({ roles: ['proxy'], modules: [ProxyModule], defaultPort: 0 }, config);
  const get = (path: string) => fetch(`http://${node.address}${path}`, { headers: { [clusterSecretHeader]: node.context.clusterSecret } });

  expect(await node.context.state.nodes()).toMatchObject([{ id: 'n0', roles: ['proxy'], state: 'running' }]);
  expect((await get('/readyz')).status).toBe(200);
  expect((await get('/healthcheck')).status).toBe(200);
  expect(await (await get('/metrics')).text()).toMatch(/binnacle_build_info{.*roles="proxy"} 1/);

  await node.stop();
  rmSync(config.dataDir, { recursive: true, force: true });
});
