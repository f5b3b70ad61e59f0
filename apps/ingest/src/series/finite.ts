/** Kept within the range of numbers: a sum that left it would make everything it gets into infinite, and messages that say it unreadable. */
export function finite(value: number): number {
  return value > Number.MAX_VALUE ? Number.MAX_VALUE : value < -Number.MAX_VALUE ? -Number.MAX_VALUE : value;
}
