import type { Discovered, Discovery } from './discovery.js';

/** What a source has found, until it finds something else. */
export abstract class FoundBackends implements Discovery {
  readonly what: string;
  #found: readonly Discovered[] = [];
  #problem = '';
  #looked = false;

  protected constructor(what: string) {
    this.what = what;
  }

  abstract start(changed: () => void): void;
  abstract stop(): void;

  current(): readonly Discovered[] {
    return this.#found;
  }

  problem(): string {
    return this.#problem;
  }

  looked(): boolean {
    return this.#looked;
  }

  /**
   * Whether that is news.
   *
   * @param found absent: it could not look, and what it found last counts
   * @param problem empty: none
   */
  protected learn(found: readonly Discovered[] | undefined, problem: string): boolean {
    const isNews = problem !== this.#problem || (found !== undefined && (!this.#looked || JSON.stringify(found) !== JSON.stringify(this.#found)));
    this.#problem = problem;
    if (found !== undefined) {
      this.#found = found;
      this.#looked = true;
    }
    return isNews;
  }
}
