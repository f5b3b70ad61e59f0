import { Module } from '@nestjs/common';
import { ApiKeys } from './api-keys.js';
import { ApiStatistics } from './api-statistics.js';
import { Authentication } from './authentication.js';
import { ConfigController } from './config.controller.js';
import { Gateway } from './gateway.js';
import { KeysController } from './keys.controller.js';
import { RoutesController } from './routes.controller.js';
import { SlowLog } from './slow-log.js';
import { StatisticsController } from './statistics.controller.js';
import { TlsMaterial } from './tls-material.js';

@Module({
  controllers: [ConfigController, KeysController, RoutesController, StatisticsController],
  // The keys before the gateway: parts start in the order in which they were made, and the listeners open once the keys are known.
  providers: [ApiKeys, ApiStatistics, Authentication, SlowLog, TlsMaterial, Gateway],
})
export class GatewayModule {}
