import type { ProxySections } from '@binnacle/node-kit/config-overrides';

/** The sections of the configuration that are the proxy's, and `log`: plain data, with everything in it that was changed since the start. */
export type SettingsView = ProxySections;

/**
 * The proxy's settings as they count now. The object behind `current` never changes: whoever keeps a part of it keeps what counted then.
 * In a worker it is fed with `update` by the main process; there by `settingsOfNode`.
 */
export class ProxySettings {
  readonly #listeners = new Set<(now: SettingsView, before: SettingsView) => void>();
  #current: SettingsView;

  constructor(first: SettingsView) {
    this.#current = first;
  }

  get current(): SettingsView {
    return this.#current;
  }

  update(next: SettingsView): void {
    const before = this.#current;
    this.#current = next;
    for (const listener of this.#listeners) listener(next, before);
  }

  /** @returns what ends it */
  onChange(listener: (now: SettingsView, before: SettingsView) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
