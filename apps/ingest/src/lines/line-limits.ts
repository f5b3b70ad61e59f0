/** Spellings of a series that clients may use before finding them costs more: order of tags, mostly. */
export const spellingsPerSeries = 2;
/** Of a bad line in the log. */
export const shownBytesMax = 200;
