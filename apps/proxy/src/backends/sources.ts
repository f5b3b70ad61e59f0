import { isIP } from 'node:net';
import type { Clock } from '@binnacle/cluster-state/clock';
import { peerAddress } from '@binnacle/node-kit/value-forms';
import type { Dispatcher } from 'undici';
import type { SettingsView } from '../settings/proxy-settings.js';
import { addressOf, type Discovered, type Discovery } from './discovery.js';
import { DnsDiscovery } from './dns-discovery.js';
import { inCluster, KubernetesDiscovery } from './kubernetes-discovery.js';
import { PdDiscovery } from './pd-discovery.js';

/** A namespace with backends of its own. */
export interface NamespaceInstances {
  readonly cluster: string;
  /** `host:port` */
  readonly instances: readonly string[];
}

export interface SourceDeps {
  readonly clock: Clock;
  readonly clusterTls: () => Dispatcher | undefined;
  readonly keepMs: () => number;
  readonly env: NodeJS.ProcessEnv;
}

const defaultCluster = 'default';
const dnsIntervalMs = 5_000;
const pdIntervalMs = 3_000;
const pdTimeoutMs = 2_000;

/** The backends that are written down: they are always there. */
export function staticBackends(proxy: SettingsView['proxy'], namespaces: readonly NamespaceInstances[]): Discovered[] {
  const fixed = proxy.backendClusters.flatMap(({ name, backends, nsServers }) => backends.filter((text) => !isLookedUp(text, nsServers)).map((text) => ({ text, cluster: name })));
  const own = namespaces.flatMap(({ cluster, instances }) => instances.map((text) => ({ text, cluster })));
  return [...proxy.backends.map((text) => ({ text, cluster: defaultCluster })), ...fixed, ...own].flatMap(({ text, cluster }) => {
    const address = peerAddress(text);
    return address === undefined ? [] : [{ ...address, cluster, names: [address.host] }];
  });
}

/** What has to be looked for, by a key that tells whether it is the same as before. */
export function discoveriesOf(proxy: SettingsView['proxy'], deps: SourceDeps): Map<string, () => Discovery> {
  const { clock, keepMs } = deps;
  const made = new Map<string, () => Discovery>();
  const names = [
    ...proxy.backendDns.map((text) => ({ text, cluster: defaultCluster, nsServers: [] as readonly string[] })),
    ...proxy.backendClusters.flatMap(({ name, backends, nsServers }) => backends.filter((text) => isLookedUp(text, nsServers)).map((text) => ({ text, cluster: name, nsServers }))),
  ];
  for (const { text, cluster, nsServers } of names) {
    const address = peerAddress(text);
    if (address === undefined) continue;
    const options = { name: address.host, port: address.port, cluster, nsServers, intervalMs: dnsIntervalMs, clock, keepMs };
    made.set(`dns ${cluster} ${text} ${nsServers.join(',')}`, () => new DnsDiscovery(options));
  }
  const clusters = [{ name: defaultCluster, pdAddrs: proxy.pdAddrs }, ...proxy.backendClusters];
  for (const { name, pdAddrs } of clusters) {
    if (pdAddrs.length === 0) continue;
    const options = { cluster: name, pdAddrs, intervalMs: pdIntervalMs, timeoutMs: pdTimeoutMs, clock, tls: deps.clusterTls };
    made.set(`pd ${name} ${pdAddrs.join(',')}`, () => new PdDiscovery(options));
  }
  const [, namespace, service, port] = /^([^/]+)\/(.+):([^:]+)$/.exec(proxy.kubernetesEndpoints) ?? [];
  const api = inCluster(deps.env);
  if (namespace !== undefined && api !== undefined) {
    const options = { namespace, service: service!, port: port!, cluster: defaultCluster, clock, ...api };
    made.set(`kubernetes ${proxy.kubernetesEndpoints}`, () => new KubernetesDiscovery(options));
  }
  return made;
}

/** With DNS servers of its own, the names of a cluster are asked there. */
function isLookedUp(text: string, nsServers: readonly string[]): boolean {
  return nsServers.length > 0 && isIP(peerAddress(text)?.host ?? '') === 0;
}

/** What several sources say of the same address, put together: it is in the clusters of all of them. */
export function mergeFound(found: readonly Discovered[]): Map<string, Discovered & { clusters: readonly string[] }> {
  const merged = new Map<string, Discovered & { clusters: readonly string[] }>();
  for (const each of found) {
    const id = addressOf(each.host, each.port);
    const known = merged.get(id);
    if (known === undefined) {
      merged.set(id, { ...each, clusters: [each.cluster] });
      continue;
    }
    const clusters = [...new Set([...known.clusters, each.cluster])].toSorted();
    const names = [...new Set([...(known.names ?? []), ...(each.names ?? [])])];
    merged.set(id, { ...each, ...known, clusters, names, labels: { ...each.labels, ...known.labels } });
  }
  return merged;
}
