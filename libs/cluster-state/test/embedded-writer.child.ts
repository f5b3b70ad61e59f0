/** Opens the embedded state of a folder, then takes and gives up a lease and writes a document, on and on, and tells of each answer. */
import { systemClock } from '../src/clock.js';
import { EmbeddedClusterState } from '../src/embedded-cluster-state.js';

process.on('disconnect', () => process.exit());
const tell = (message: object): Promise<void> => new Promise((resolve) => void process.send!(message, () => resolve()));

let state: EmbeddedClusterState | undefined;
try {
  state = new EmbeddedClusterState(process.argv[2]!, systemClock);
} catch (error) {
  await tell({ failed: (error as Error).message });
  process.exit(1);
}
const candidate = { nodeId: 'writer', incarnation: String(process.pid), address: '' };
let version = (await state.readDocument('d')).document?.version ?? 0;
for (;;) {
  const answer = await state.campaign({ lease: 'leader', candidate, ttlMs: 60_000, termFloor: 0 });
  if (!answer.held) throw new Error('nobody else can hold it');
  const written = await state.writeDocument({ key: 'd', value: `version ${version + 1}`, expectedVersion: version, requestId: `r${version}` });
  version = written.version;
  await tell({ term: answer.term, version });
  await state.resign({ lease: 'leader', candidate, term: answer.term });
}
