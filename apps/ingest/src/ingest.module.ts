import { Module } from '@nestjs/common';

/** Today an ingest node registers and answers probes, health and metrics; it takes no statsd line or message yet, so its paths answer 501 at the gateway. */
@Module({})
export class IngestModule {}
