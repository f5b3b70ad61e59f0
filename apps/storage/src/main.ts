#!/usr/bin/env node
import { runNode } from '@binnacle/node-kit/run-node';
import { limitHeapGrowth } from './heap-growth.js';
import { StorageModule } from './storage.module.js';

limitHeapGrowth();
await runNode({ roles: ['storage'], modules: [StorageModule], defaultPort: 7403 });
