#!/usr/bin/env node
import { runNode } from '@binnacle/node-kit/run-node';
import { ClusterModule } from './cluster.module.js';

await runNode({ roles: ['cluster'], modules: [ClusterModule], defaultPort: 7404 });
