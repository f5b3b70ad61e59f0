import { Module } from '@nestjs/common';

/** Today a profiling node registers and answers probes, health and metrics; it captures nothing yet, so profile paths answer 501 at the gateway. */
@Module({})
export class ProfilingModule {}
