import { withOverrides } from '@binnacle/node-kit/config-overrides';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { ProxySettings } from './proxy-settings.js';

/** The settings in the main process: what this node was started with, and over it what `PUT /api/admin/config` has changed, as soon as it is heard of. */
export function settingsOfNode(node: NodeContext): ProxySettings {
  const now = () => withOverrides(node.config, node.settings.value().proxy);
  const settings = new ProxySettings(now());
  node.settings.onChange(() => {
    const next = now();
    // Other settings live in the same document.
    if (JSON.stringify(next) === JSON.stringify(settings.current)) return;
    node.log.level = next.log.level;
    settings.update(next);
  });
  return settings;
}
