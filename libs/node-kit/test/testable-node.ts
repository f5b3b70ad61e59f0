import { mkdtempSync } from 'node:fs';
import { request as httpRequest, type Agent, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { NodeConfig } from '../src/config.js';

export const clusterSecret = 'secret-of-the-test-cluster';

/** A node on a free port with a data folder of its own; quiet, quick to stop, and well however slow, full and busy the machine is. */
export function testConfig(change: (config: NodeConfig) => void = () => {}): NodeConfig {
  const config = new NodeConfig();
  config.dataDir = mkdtempSync(join(tmpdir(), 'binnacle-node-'));
  config.node.port = 0;
  config.node.clusterSecret = clusterSecret;
  config.node.drainDelayMs = 0;
  config.log.level = 'silent';
  Object.assign(config.health, { eventLoopDelayMsMax: 60_000, diskFreePercentMin: 0, memoryFreePercentMin: 0 });
  change(config);
  return config;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface AskOptions {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly agent?: Agent;
}

/** One request over a real socket; `body` is JSON text unless the headers say otherwise. */
export function ask(address: string, path: string, { method = 'GET', headers = {}, body, agent }: AskOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      `http://${address}${path}`,
      { method, ...(agent ? { agent } : { agent: false }), headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString() }),
        );
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

/** The same with the cluster secret, as the gateway and other nodes ask. */
export function askAsNode(address: string, path: string, options: AskOptions = {}): Promise<Answer> {
  return ask(address, path, { ...options, headers: { [clusterSecretHeader]: clusterSecret, ...options.headers } });
}
