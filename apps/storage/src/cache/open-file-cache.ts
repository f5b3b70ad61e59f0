import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import type { RemoteStore } from '../remote/remote-store.js';
import type { FileCacheLimits } from './cache-types.js';
import { FileCacheMetrics } from './file-cache-metrics.js';
import { FileCache } from './file-cache.js';

/** The file cache of a node, as its configuration and the dynamic settings say. It keeps nothing where there is no remote store, or no compute role. */
export function openFileCache(node: NodeContext, remote: RemoteStore): FileCache {
  const { fileCacheFolder, fileCacheMegabytes, modes } = node.config.storage;
  const isUsed = remote.isOn() && modes.includes('compute');
  const cache = new FileCache(async (key, range, signal) => remote.store().getRange(key, range, { signal }), node.clock, {
    // The paths of pins are given to readers, and the name of its spare folder comes of it: it must not depend on where the process was started.
    folder: resolve(fileCacheFolder || join(node.config.dataDir, 'storage', 'cache')),
    capacityBytes: isUsed ? fileCacheMegabytes * 2 ** 20 : 0,
    limits: () => limitsOf(node),
    warn: (error, message) => node.log.warn({ err: error }, message),
  });
  if (!isUsed) return cache;
  new FileCacheMetrics(node.metrics, cache);
  node.addPart({
    name: 'file cache',
    // Not awaited: what needs the cache waits for it, and the node is ready meanwhile.
    start: async () => cache.start(),
    stop: async () => cache.stop(),
  });
  return cache;
}

function limitsOf(node: NodeContext): FileCacheLimits {
  const settings = node.settings.value();
  const times = (scale: number): number => Math.max(1, Math.round(scale * availableParallelism()));
  return {
    fileLevel: settings.dtfileLevel,
    minAgeMs: settings.dtFilecacheMinAgeSeconds * 1_000,
    downloads: times(settings.downloadingCountScale),
    downloadsMax: times(settings.maxDownloadingCountScale),
  };
}
