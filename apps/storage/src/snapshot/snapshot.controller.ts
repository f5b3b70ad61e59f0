import { validBody } from '@binnacle/node-kit/valid-body';
import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { IsOptional, IsString } from 'class-validator';
import { type SnapshotFacts, Snapshots } from './snapshots.js';

class SnapshotBody {
  /** Absolute, on this node; or `remote:NAME`, in the remote store. */
  @IsOptional() @IsString() path?: string;
}

/** What the cluster role asks of a storage node: `POST /operations/snapshot` comes in there, for one node or for all. */
@Controller()
export class SnapshotController {
  constructor(private readonly snapshots: Snapshots) {}

  @Post('/agent/v1/snapshot')
  @HttpCode(201)
  async take(@Body() body: unknown): Promise<SnapshotFacts> {
    return this.snapshots.take(validBody(SnapshotBody, body).path);
  }
}
