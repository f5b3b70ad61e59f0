#!/usr/bin/env node
import { runNode } from '@binnacle/node-kit/run-node';
import { IngestModule } from './ingest.module.js';

await runNode({ roles: ['ingest'], modules: [IngestModule], defaultPort: 7406 });
