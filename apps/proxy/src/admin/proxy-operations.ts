/** What TiProxy's API asks of the proxy as a whole: a class and not an interface, so that Nest can inject by type. */
export abstract class ProxyOperations {
  /** Whether the port takes connections, and no shutdown has begun. */
  abstract isOpen(): boolean;
  /** Moves sessions so that every backend has its share, as far as they can move. Resolves with how many were ordered to, once that is done. */
  abstract redistribute(): Promise<number>;
  /** What was read of each backend to balance by, as plain data. */
  abstract backendReadings(): unknown;
}
