/** Name and tags of a series; with the limit of series this bounds the memory they take. */
export const identityBytesMax = 1_024;
/** A member of a set is kept until the next flush. */
export const memberBytesMax = 1_024;
