const counts = /\b(?:row_count|found_rows)\s*\(|\bget\s+(?:current\s+)?diagnostics\b/i;
const warnings = /\bshow\s+(?:count\s*\([\s*]*\)\s*)?(?:warnings|errors)\b|\bget\s+(?:current\s+)?diagnostics\b|@@\s*(?:session\s*\.\s*|local\s*\.\s*)?`?(?:warning|error)_count/i;
const asksInsertId = /\blast_insert_id\s*\(\s*\)|@@\s*(?:session\s*\.\s*|local\s*\.\s*)?`?(?:last_insert_id|identity)\b/i;

/** Whether a statement asks for counts of rows of the one before it. It may be found where a string only says so: then somebody is refused for once; so below. */
export function asksForCounts(text: string): boolean {
  return counts.test(text);
}

/** Whether it asks for warnings and errors of those before it. */
export function asksForWarnings(text: string): boolean {
  return warnings.test(text);
}

/** Either of them. */
export function asksForLast(text: string): boolean {
  return asksForCounts(text) || asksForWarnings(text);
}

/** Whether it asks for LAST_INSERT_ID() of the past. */
export function asksForInsertId(text: string): boolean {
  return asksInsertId.test(text);
}

/** What a client is told that asks for what a move has lost. */
export const forgottenError = 'the session was moved to another server, and what its last statement left (warnings, ROW_COUNT, LAST_INSERT_ID) is not known there';
