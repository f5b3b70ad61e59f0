/** Events until the next flush, a few kB each at the most; further ones are refused over HTTP, and dropped where they come as lines. */
export const eventsMax = 10_000;
/** Spellings of a series that clients may use before finding them costs more: order of tags, mostly. */
export const spellingsPerSeries = 2;
/** Of a bad line in the log. */
export const shownBytesMax = 200;
