import { readFileSync } from 'node:fs';
import { Gauge, type Registry } from 'prom-client';

function packageVersion(): string {
  // The file lies beside `src` and beside `dist` alike.
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

export const buildInfo: { readonly version: string; readonly nodeVersion: string } = {
  version: packageVersion(),
  nodeVersion: process.versions.node,
};

/** `binnacle_build_info{version,node_version,roles} 1` */
export function addBuildInfo(registry: Registry, roles: readonly string[]): void {
  new Gauge({
    name: 'binnacle_build_info',
    help: 'Version of Binnacle and of Node.js; always 1.',
    labelNames: ['version', 'node_version', 'roles'],
    registers: [registry],
  }).set({ version: buildInfo.version, node_version: buildInfo.nodeVersion, roles: roles.join(',') }, 1);
}
