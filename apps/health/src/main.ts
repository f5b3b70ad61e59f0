#!/usr/bin/env node
import { runNode } from '@binnacle/node-kit/run-node';
import { HealthModule } from './health.module.js';

await runNode({ roles: ['health'], modules: [HealthModule], defaultPort: 7405 });
