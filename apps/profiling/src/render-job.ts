/** What a profile is turned into for a client. */
export type RenderFormat = 'svg' | 'collapsed' | 'json' | 'top' | 'text';

/** What the rendering thread is asked to do; profiles are pprof, gzipped or not. */
export type RenderJob =
  | { readonly kind: 'render'; readonly pprof: Uint8Array; readonly format: RenderFormat; readonly title: string }
  | { readonly kind: 'diff'; readonly base: Uint8Array; readonly other: Uint8Array; readonly format: 'svg' | 'pprof'; readonly title: string }
  | { readonly kind: 'merge'; readonly parts: readonly ProfileOfNode[]; readonly comments: readonly string[] }
  | { readonly kind: 'addresses'; readonly dump: Uint8Array }
  | { readonly kind: 'convert'; readonly dump: Uint8Array; readonly addresses: readonly string[]; readonly names: readonly string[] };

export interface ProfileOfNode {
  readonly node: string;
  readonly pprof: Uint8Array;
}

/** The result of `addresses` is a list, of all others bytes. */
export type RenderResult = Uint8Array | string[];
