import { Module } from '@nestjs/common';
import { StorageCampaigns } from './storage-campaigns.js';

/** Today a storage node stands for election and says what it is; it keeps no rows yet, so its paths answer 501 at the gateway. */
@Module({ providers: [StorageCampaigns] })
export class StorageModule {}
