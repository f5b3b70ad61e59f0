#!/usr/bin/env node
import { runNode } from '@binnacle/node-kit/run-node';
import { ProfilingModule } from './profiling.module.js';

await runNode({ roles: ['profiling'], modules: [ProfilingModule], defaultPort: 7402 });
