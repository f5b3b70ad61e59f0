/** Headers between nodes. The gateway removes them from what clients send. */
export const clusterSecretHeader = 'x-binnacle-cluster-secret';
/** The dialect of the listener that took the request in: one path may answer differently in two dialects. */
export const dialectHeader = 'x-binnacle-dialect';
/** `all` on what came in on port 8080, which speaks every dialect; absent on the listeners of one dialect. */
export const listenerHeader = 'x-binnacle-listener';
/** Names the target node, as `?node=` does; clients may send it. */
export const targetNodeHeader = 'x-binnacle-node';
/** The storage node that passed the request on to the write node of its table: that one does not pass it on again. */
export const forwardedByHeader = 'x-binnacle-forwarded-by';
/** On the answer to searches that asked for a cached one: `hit` or `miss` for each, with commas between. The gateway counts them for `/stats.json`. */
export const searchCacheHeader = 'x-binnacle-search-cache';
