#!/usr/bin/env node
import { runNode } from '@binnacle/node-kit/run-node';
import { GatewayModule } from './gateway.module.js';

await runNode({ roles: ['gateway'], modules: [GatewayModule], defaultPort: 7401 });
