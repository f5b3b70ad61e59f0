#!/usr/bin/env node
import { runNode } from '@binnacle/node-kit/run-node';
import { StorageModule } from './storage.module.js';

await runNode({ roles: ['storage'], modules: [StorageModule], defaultPort: 7403 });
