import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { mountNodeKit } from '@binnacle/node-kit/mount';

@Controller('orders')
class OrdersController {
  @Get()
  list() {
    return [{ id: 1, total: 42 }];
  }
}

@Module({ controllers: [OrdersController] })
class OrdersModule {}

const app = await NestFactory.create<NestFastifyApplication>(OrdersModule, new FastifyAdapter());
await mountNodeKit(app.getHttpAdapter().getInstance(), { role: 'orders' });
await app.listen(Number(process.env.PORT ?? 3000));
process.once('SIGTERM', () => void app.close());
