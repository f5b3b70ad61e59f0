/** The documented APIs whose paths, formats and quirks Binnacle speaks, and its own (`binnacle`, under `/api/v1`). */
export const dialects = ['tiflash', 'tiproxy', 'gostatsd', 'typesense', 'binnacle'] as const;
export type Dialect = (typeof dialects)[number];

/** What a node of Binnacle does. A user's own service that mounts the node kit brings a role name of its own. */
export const roles = ['gateway', 'profiling', 'storage', 'cluster', 'health', 'ingest', 'proxy'] as const;
export type Role = (typeof roles)[number];

/** What a storage node may do: take rows in and upload them, or answer queries from the remote store. */
export type StorageMode = 'write' | 'compute';

/**
 * Which node serves a request, and what `?node=` (or `X-Binnacle-Node`) does to it.
 *
 * - `self`: every node can answer for itself; the gateway does unless another node is named. With `rather` a node of that role does, as long as
 *   there is one, whatever its state.
 * - `role`: any live node of the role, or the named one. For the role `gateway` that is the gateway that took the request in.
 * - `lease-owner`: the owner of a lease, or the named node; while nobody owns it, any node of the role.
 * - `subject`: any live node of the role serves it; the named node is what the operation is about and is passed on as `?node=`.
 *
 * With `mode` only storage nodes of that mode are chosen from, as long as there is one: the others would say that it is not theirs to answer.
 *
 * `?node=*`, where the route allows it, asks every node that could be named (of `role`, or for `subject` of `subjectRole`) and answers by node id.
 * A `subjectRole` of `any` is every node there is: any node can be profiled. With `together` one node of the role gets the `*` itself and
 * answers once for all of them. With `mayHaveLeft` the named node need not be registered any more: what is kept of it can be asked for.
 */
export type TargetRule =
  | { readonly kind: 'self'; readonly rather?: Role }
  | { readonly kind: 'role'; readonly role: Role; readonly mode?: StorageMode }
  | { readonly kind: 'lease-owner'; readonly lease: string; readonly role: Role; readonly mode?: StorageMode }
  | { readonly kind: 'subject'; readonly role: Role; readonly subjectRole: Role | 'any'; readonly together?: true; readonly mayHaveLeft?: true };

export type HttpMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** What a request counts as in `/stats.json`, and which writes `skip-writes` refuses. */
export type Operation = 'search' | 'import' | 'write' | 'delete';

export interface QueryParameter {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'number' | 'boolean';
  readonly description: string;
  readonly required?: true;
}

export interface Route {
  readonly method: HttpMethod;
  /** find-my-way template: `/tiflash/sync-status/:table`. It is also the label in statistics and metrics. */
  readonly path: string;
  /**
   * The listeners that serve it. Port 8080 serves every route; where two dialects clash there, `libs/contracts/src/routes.ts` orders them.
   * A request on port 8080 speaks the first one.
   */
  readonly dialects: readonly Dialect[];
  readonly summary: string;
  readonly target: TargetRule;
  /** The scope an API key needs, `resource:verb` (`operations/snapshot:create`), or `public`. */
  readonly action: string;
  /**
   * The request may be sent again after its connection broke before an answer came. False for everything but GET, and for the GETs that
   * change something (`owner/resign`, `gc`, `evict`) or cost a capture. A request that was never sent may always go to another node.
   */
  readonly retryable: boolean;
  /**
   * `?node=*` may ask every node. False for what changes the cluster as a whole (a key made once per gateway is not what anybody meant), and
   * for streams without an end.
   */
  readonly everyNode: boolean;
  /** Requests with one `Idempotency-Key` go to one node, for as long as that runs: it knows which of them it has had. */
  readonly byIdempotencyKey?: true;
  /** Under mTLS any certificate of the authority is let in, whatever its common name: TiFlash exempts three paths from its list. */
  readonly anyCertificate?: true;
  /** The path that nodes serve it under, where that is not `path`. */
  readonly nodePath?: string;
  /** Longest wait for the response head, in milliseconds; a body may stream for longer as long as it moves. */
  readonly deadlineMs: number;
  readonly bodyBytesMax: number;
  readonly operation?: Operation;
  readonly query?: readonly QueryParameter[];
  /** Media type of the 200 answer. */
  readonly produces: string;
}
