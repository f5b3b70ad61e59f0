import type { ValueForm } from './config-key.js';
import { commaList, isListOf, isPeer, isTable } from './value-forms.js';

/** Some servers behind the proxy that hold the same data. */
export interface BackendClusterConfig {
  readonly name: string;
  /** Addresses of TiDB's PD. */
  readonly pdAddrs: readonly string[];
  /** DNS servers for the names of its backends; the system's if empty. */
  readonly nsServers: readonly string[];
  /** Fixed `host:port`, where there is no PD. */
  readonly backends: readonly string[];
}

const fields = new Map([['name', 'name'], ['pd-addrs', 'pdAddrs'], ['ns-servers', 'nsServers'], ['backends', 'backends']]);

/** `[[proxy.backend-clusters]]` in the file, the same as JSON outside it. A field that is not known makes the whole thing one that does not fit. */
export const backendClusterTables: ValueForm = {
  read(value) {
    const tables = typeof value === 'string' ? fromJson(value) : value;
    if (!Array.isArray(tables)) return value;
    return tables.map((table: unknown) => {
      if (!isTable(table) || Object.keys(table).some((field) => !fields.has(field))) return table;
      const lists = { pdAddrs: [], nsServers: [], backends: [] };
      const given = Object.entries(table).map(([field, content]) => [fields.get(field), field === 'name' ? content : commaList.read(content)]);
      return { name: '', ...lists, ...Object.fromEntries(given) };
    });
  },
  show: (clusters: readonly BackendClusterConfig[]) =>
    clusters.map(({ name, pdAddrs, nsServers, backends }) => ({
      name,
      ...(pdAddrs.length > 0 && { 'pd-addrs': pdAddrs.join(',') }),
      ...(nsServers.length > 0 && { 'ns-servers': nsServers }),
      ...(backends.length > 0 && { backends }),
    })),
};

/** A list that stands in a flag or in the environment; nothing is an empty one, and what is no JSON is undefined. */
export function fromJson(text: string): unknown {
  try {
    return text.trim() === '' ? [] : JSON.parse(text);
  } catch {
    return undefined;
  }
}

const isNameServer = (value: unknown): boolean => typeof value === 'string' && /^[^\s\0]{1,256}$/.test(value);

export function areBackendClusters(value: unknown): boolean {
  if (!Array.isArray(value) || value.length > 64) return false;
  const clusters = value as readonly Partial<BackendClusterConfig>[];
  const names = new Set(clusters.map((cluster) => cluster?.name));
  return names.size === clusters.length && clusters.every(isBackendCluster);
}

function isBackendCluster(cluster: Partial<BackendClusterConfig> | undefined): boolean {
  const { name, pdAddrs, nsServers, backends } = cluster ?? {};
  if (typeof name !== 'string' || !/^[^\s\0]{1,64}$/.test(name)) return false;
  if (!isListOf(isPeer)(pdAddrs) || !isListOf(isPeer)(backends) || !isListOf(isNameServer)(nsServers)) return false;
  return (pdAddrs?.length ?? 0) + (backends?.length ?? 0) > 0;
}
