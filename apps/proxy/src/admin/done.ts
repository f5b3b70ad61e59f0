export const json = 'application/json; charset=utf-8';

/** TiProxy answers what succeeds with an empty JSON text. */
export const done = '""';
