import { disaggMode } from '@binnacle/contracts/disagg-mode';
import type { FastifyReply, FastifyRequest } from 'fastify';

/* Answers in TiFlash's form, whose bytes clients rely on. */

export function tiflashJson(reply: FastifyReply, status: number, body: unknown): FastifyReply {
  return reply.code(status).type('application/json').send(typeof body === 'string' ? body : JSON.stringify(body));
}

/** The original's answer on a node of the wrong mode: HTTP 200. The header tells programs what the message tells people. */
export function wrongMode(reply: FastifyReply, modes: readonly string[], stem: string): FastifyReply {
  const mode = disaggMode(modes);
  return tiflashJson(reply.header('x-binnacle-role', mode), 200, { message: `${stem}, disagg_mode=${mode}` });
}

/** As messages of errors name it. */
export function pathOf({ url }: FastifyRequest): string {
  return url.replace(/\?.*$/s, '');
}
