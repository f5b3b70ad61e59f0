import { BinnacleError } from '@binnacle/contracts/errors';
import { bodyObject } from '@binnacle/node-kit/request-body';
import { Controller, Delete, Get, Param, Post, HttpCode, Req, type RawBodyRequest } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { ApiKeys } from './api-keys.js';
import type { StoredKey } from './key-document.js';
import { parseNewKey } from './new-key.js';

/** A key as the Typesense API shows it. Its value is in the answer to its making and nowhere else. */
interface ShownKey {
  readonly id: number;
  readonly description: string;
  readonly actions: readonly string[];
  readonly collections: readonly ['*'];
  readonly expires_at: number;
}

/** Typesense's keys API. */
@Controller('keys')
export class KeysController {
  constructor(private readonly keys: ApiKeys) {}

  @Get()
  list(): { keys: ShownKey[] } {
    return { keys: this.keys.list().map(withPrefix) };
  }

  @Post()
  @HttpCode(201)
  async create(@Req() request: RawBodyRequest<FastifyRequest>): Promise<ShownKey & { value: string }> {
    const { key, value } = await this.keys.create(parseNewKey(bodyObject(request)));
    return { ...shown(key), value };
  }

  @Get(':id')
  get(@Param('id') id: string): ShownKey {
    return withPrefix(this.keys.get(keyId(id)));
  }

  @Delete(':id')
  async remove(@Param('id') id: string): Promise<{ id: number }> {
    await this.keys.remove(keyId(id));
    return { id: keyId(id) };
  }
}

function keyId(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new BinnacleError('BAD_REQUEST', 'The id of an API key is a number.');
  return Number(text);
}

function withPrefix(key: StoredKey): ShownKey & { value_prefix: string } {
  return { ...shown(key), value_prefix: key.valuePrefix };
}

function shown({ id, description, actions, expiresAtS }: StoredKey): ShownKey {
  return { id, description, actions, collections: ['*'], expires_at: expiresAtS };
}
