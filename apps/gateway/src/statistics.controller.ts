import { Controller, Get } from '@nestjs/common';
import { ApiStatistics } from './api-statistics.js';

@Controller()
export class StatisticsController {
  constructor(private readonly statistics: ApiStatistics) {}

  @Get('stats.json')
  stats(): ReturnType<ApiStatistics['snapshot']> {
    return this.statistics.snapshot();
  }
}
