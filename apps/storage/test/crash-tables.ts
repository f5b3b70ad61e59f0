import { tableOf } from './testable-search.js';

/** What the writer that is killed and the test that checks what it left have in common. */
export const crashTables = [tableOf(1, { stamp: 'int32', text: 'string' }), tableOf(2, { stamp: 'int32', text: 'string' })];
