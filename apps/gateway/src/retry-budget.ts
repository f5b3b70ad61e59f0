/** Retries may be this share of the requests: enough for a node that dies, too little to make an overload worse. */
export const retryShare = 0.1;
/** What a gateway with little traffic starts with. */
export const tokensAtStart = 10;
/** What a busy one may save up: the requests that a node had in flight when it died come back all at once. */
export const tokensMax = 100;

/** A bucket that every request fills by a tenth of a token and every retry takes one from. */
export class RetryBudget {
  #tokens = tokensAtStart;

  countRequest(): void {
    if (this.#tokens < tokensMax) this.#tokens = Math.min(tokensMax, this.#tokens + retryShare);
  }

  /** False when there is nothing left: do not retry then. */
  take(): boolean {
    // A tenth has no exact binary form: ten of them may be a little less than one.
    if (this.#tokens < 1 - 1e-9) return false;
    this.#tokens -= 1;
    return true;
  }
}
