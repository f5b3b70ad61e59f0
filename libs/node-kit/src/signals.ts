/**
 * A terminal sends Ctrl-C to every process of the group, and npm or a launcher passes the same one on: what comes this soon after the
 * first is no second wish of the person.
 */
const echoMs = 400;

/** SIGTERM and SIGINT stop the node, with exit code 0, or 1 when stopping failed; the second signal ends the process at once. */
export function stopOnSignals(stop: () => Promise<void>): void {
  let firstAt: number | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    const now = performance.now();
    if (firstAt === undefined) {
      firstAt = now;
      stop().then(
        () => process.exit(0),
        () => process.exit(1),
      );
    } else if (now - firstAt > echoMs) {
      process.stderr.write(`binnacle: second ${signal}: ends at once\n`);
      process.exit(1);
    }
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}
