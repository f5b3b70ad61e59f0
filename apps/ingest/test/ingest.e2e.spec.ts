import { expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { NodeConfig } from '@binnacle/node-kit/config';
import { startNode } from '@binnacle/node-kit/run-node';
import { IngestModule } from '../src/ingest.module.js';

test('an ingest node registers, and answers probes, health and metrics', async () => {
  const config = new NodeConfig();
  config.dataDir = mkdtempSync(join(tmpdir(), 'binnacle-ingest-'));
  Object.assign(config.node, { id: 'n0', port: 0 });
  Object.assign(config.health, { eventLoopDelayMsMax: 60_000, diskFreePercentMin: 0, memoryFreePercentMin: 0 });
  config.log.level = 'silent';
  const node = await startNode({ roles: ['ingest'], modules: [IngestModule], defaultPort: 0 }, config);
  const get = (path: string) => fetch(`http://${node.address}${path}`, { headers: { [clusterSecretHeader]: node.context.clusterSecret } });

  expect(await node.context.state.nodes()).toMatchObject([{ id: 'n0', roles: ['ingest'], state: 'running' }]);
  expect((await get('/readyz')).status).toBe(200);
  expect((await get('/healthcheck')).status).toBe(200);
  expect(await (await get('/metrics')).text()).toMatch(/binnacle_build_info{.*roles="ingest"} 1/);

  await node.stop();
  rmSync(config.dataDir, { recursive: true, force: true });
});
