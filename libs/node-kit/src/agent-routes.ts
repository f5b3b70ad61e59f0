import { IsInt, IsOptional, IsString, Matches, Max, Min } from 'class-validator';
import type { FastifyInstance } from 'fastify';
import type { Node } from './node.js';
import { validBody } from './valid-body.js';

class ResignBody {
  /** Id of the node that shall have the lease next. */
  @IsOptional() @IsString() @Matches(/^[A-Za-z0-9._-]{1,64}$/) successor?: string;
  /** How long the free lease is kept for the successor, in milliseconds. */
  @IsOptional() @IsInt() @Min(1) @Max(600_000) reservedMs?: number;
}

/** What nodes ask of each other: the leases this node campaigns for, and to give one up. */
export function addAgentRoutes(app: FastifyInstance, node: Node): void {
  app.get('/agent/v1/leases', async () =>
    [...node.candidacies].map(([name, candidacy]) => ({ name, owner: candidacy.isOwner(), term: candidacy.term() ?? null })),
  );

  app.post<{ Params: { name: string } }>('/agent/v1/leases/:name/resign', async (request, reply) => {
    const candidacy = node.candidacies.get(request.params.name);
    if (!candidacy) return reply.code(404).send({ message: `this node does not campaign for a lease "${request.params.name}"` });
    const { successor, reservedMs } = validBody(ResignBody, request.body);
    const term = candidacy.term() ?? null;
    const resigned = await candidacy.resign({ ...(successor !== undefined && { successor }), ...(reservedMs !== undefined && { reservedMs }) });
    node.log.info({ lease: candidacy.lease, term, successor, resigned }, 'asked to resign a lease');
    return { resigned, term };
  });
}
