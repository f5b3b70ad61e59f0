import { Module } from '@nestjs/common';

/** Today a proxy node registers and answers probes, health and metrics; it opens no MySQL port yet, so its paths answer 501 at the gateway. */
@Module({})
export class ProxyModule {}
