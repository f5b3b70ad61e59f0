/* `npm start`: installs if needed, builds what changed, then is `binnacle start`. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeFlags, storageFlags, withJemalloc } from './preload.mjs';
import { run } from './runtime.mjs';
import { installIfNeeded, onNewEnoughNode, root } from './workspace.mjs';

await onNewEnoughNode(fileURLToPath(import.meta.url));
await installIfNeeded();
const built = await run(process.execPath, [join(root, 'node_modules/typescript7/bin/tsc'), '-b', join(root, 'apps/cli')]);
if (built !== 0) process.exit(built);
const { env, line } = withJemalloc(process.env);
console.log(line);
process.exit(await run(process.execPath, [...nodeFlags, ...storageFlags, join(root, 'apps/cli/dist/main.js'), 'start', ...process.argv.slice(2)], { env }));
