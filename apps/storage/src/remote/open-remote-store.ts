import type { NodeConfig } from '@binnacle/node-kit/config';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { openObjectStore } from '@binnacle/object-store/open-object-store';
import { remoteUrl } from './remote-store.js';

/** The remote store of nodes with this configuration, for command lines, which close it. Rejects with an Error that says what is wrong with the configuration. */
export async function openRemoteStore(config: NodeConfig): Promise<ObjectStore> {
  const url = remoteUrl(config);
  if (url === undefined) throw new Error('there is no remote store: set BINNACLE_REMOTE_URL as on the nodes');
  return openObjectStore({ ...config.remote, url });
}
