/** Commands of one session whose answers are to come, in their order: nearly always one, for which nothing is allocated. */
export class AwaitedAnswers {
  /** Of the next answer: the ordinal of its command's record, 0 if it has none; -1: no answer is awaited. */
  ordinal = -1;
  /** When its command's last byte was here, as `performance.now` counts. */
  passedMs = 0;
  #others: { readonly ordinal: number; readonly passedMs: number }[] | undefined;

  push(ordinal: number, passedMs: number): void {
    if (this.ordinal !== -1) {
      (this.#others ??= []).push({ ordinal, passedMs });
      return;
    }
    this.ordinal = ordinal;
    this.passedMs = passedMs;
  }

  /** The answer is here. */
  shift(): void {
    this.ordinal = -1;
    if (this.#others === undefined) return;
    const { ordinal, passedMs } = this.#others.shift()!;
    this.ordinal = ordinal;
    this.passedMs = passedMs;
    if (this.#others.length === 0) this.#others = undefined;
  }
}
