/** Answers of searches. */
export class ResultCache {
  /** Forgets every answer. */
  clear(): void {}
}
