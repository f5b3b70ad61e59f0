import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Module } from '@nestjs/common';
import { ScheduleModule } from '@nestjs/schedule';
import { Captures } from './captures.js';
import { ContinuousProfiling } from './continuous.js';
import { GostatsdPprofController } from './gostatsd-pprof.controller.js';
import { HeapDumps } from './heap-dumps.js';
import { HeapDumpsController } from './heap-dumps.controller.js';
import { KeptProfiles } from './kept-profiles.js';
import { MergedProfiles } from './merged-profiles.js';
import { ProfileKeepers } from './profile-keepers.js';
import { ProfilesController } from './profiles.controller.js';
import { ProfilingPeers } from './profiling-peers.js';
import { Renderer } from './renderer.js';
import { RequestedProfiles } from './requested-profiles.js';
import { TiflashPprofController } from './tiflash-pprof.controller.js';

/** Captures of any node, their renderings and their history. */
@Module({
  imports: [ScheduleModule.forRoot()],
  controllers: [TiflashPprofController, GostatsdPprofController, HeapDumpsController, ProfilesController],
  providers: [
    Captures,
    KeptProfiles,
    ProfilingPeers,
    ProfileKeepers,
    MergedProfiles,
    HeapDumps,
    ContinuousProfiling,
    RequestedProfiles,
    { provide: AgentClient, useFactory: (node: NodeContext) => new AgentClient(node), inject: [NodeContext] },
    { provide: Renderer, useFactory: (node: NodeContext) => new Renderer(node), inject: [NodeContext] },
  ],
})
export class ProfilingModule {}
