import type { Cluster, Redis } from 'ioredis';
import { nodesMax, requestIdsPerDocumentMax, tenuresPerLeaseMax, waitingPerLeaseMax } from './limits.js';

/*
 * All Lua that runs in Redis. Each script is one operation of `ClusterState`, atomic, and decides on the server's clock.
 * The rules of leases are those of `lease-decision.ts`, in the same order.
 *
 * Keys (P is `{prefix}:`, one hash tag, so one slot of a Redis Cluster):
 *   P lease:NAME           hash: owner (candidate key), record (JSON), term, floor, acquired, until, reservedFor, reservedUntil, resignedBy
 *   P lease:NAME:waiting   zset: candidate key → time at which it is forgotten
 *   P lease:NAME:history   list: ended tenures as JSON, newest first
 *   P leases               set of lease names
 *   P nodes                hash: node id → "incarnation \n steady part of the record \n figures", P nodes:expiry zset: node id → expiry
 *   P revision             committed revision
 *   P document:KEY         hash: version, value; P document:KEY:requests list: "request id version revision"
 *   P documents            set of document keys
 *   P watch:TOPIC, P signal:TOPIC   channels
 * All times are milliseconds since 1970 on the server's clock. No key has a Redis expiry: a term must not be forgotten.
 */

const clock = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function int(n) return string.format('%.0f', n) end
`;

/** KEYS of lease scripts: 1 lease, 2 waiting, 3 history. */
const leaseHead = `${clock}
local f = redis.call('HMGET', KEYS[1], 'owner', 'term', 'until', 'floor', 'record', 'acquired', 'reservedFor', 'reservedUntil', 'resignedBy')
local owner, term, untilMs = f[1], tonumber(f[2] or 0), tonumber(f[3] or 0)
local held = owner and untilMs > now
local function waiting()
  local ids = {}
  for i, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. int(now), '+inf')) do ids[i] = string.match(key, '^%S+') end
  return ids
end
local function describe()
  return { term, held and f[5] or '', held and untilMs - now or 0, waiting() }
end
local function tenure(endedAt, reason)
  local json = '{"term":' .. int(term) .. ',"owner":' .. f[5] .. ',"acquiredAtMs":' .. f[6]
  if endedAt then json = json .. ',"endedAtMs":' .. int(endedAt) .. ',"endReason":"' .. reason .. '"' end
  return json .. '}'
end
local function remember(json)
  redis.call('LPUSH', KEYS[3], json)
  redis.call('LTRIM', KEYS[3], 0, ${tenuresPerLeaseMax - 1})
end
`;

/** ARGV: 1 candidate key, 2 candidate as JSON, 3 node id, 4 ttl, 5 term floor, 6 lease name, 7 watch channel; KEYS 4: set of names. */
export const campaignLua = `${leaseHead}
local ttl, given = tonumber(ARGV[4]), tonumber(ARGV[5])
local stored = tonumber(f[4] or 0)
local floor = math.max(term, stored, given)
local mine = held and owner == ARGV[1]
if mine and term >= floor then
  redis.call('HSET', KEYS[1], 'until', int(now + ttl))
  return { 1, term }
end
local may = not held or mine
if may then
  if f[7] and tonumber(f[8]) > now then
    may = f[7] == ARGV[3]
  elseif f[9] == ARGV[3] then
    for _, id in ipairs(waiting()) do
      if id ~= ARGV[3] then may = false break end
    end
  end
end
if not may then
  if floor > stored then redis.call('HSET', KEYS[1], 'floor', int(floor)) end
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', int(now))
  if redis.call('ZCARD', KEYS[2]) < ${waitingPerLeaseMax} or redis.call('ZSCORE', KEYS[2], ARGV[1]) then
    redis.call('ZADD', KEYS[2], int(now + ttl), ARGV[1])
  end
  return { 0, describe() }
end
if owner then remember(tenure(math.min(untilMs, now), 'expired')) end
term = floor + 1
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'record', ARGV[2], 'term', int(term), 'floor', int(term), 'acquired', int(now), 'until', int(now + ttl))
redis.call('HDEL', KEYS[1], 'reservedFor', 'reservedUntil', 'resignedBy')
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('SADD', KEYS[4], ARGV[6])
redis.call('PUBLISH', ARGV[7], '')
return { 1, term }
`;

/** ARGV: 1 candidate key, 2 node id, 3 term, 4 successor or '', 5 reserved ms, 6 watch channel. */
const resignLua = `${leaseHead}
if not held or owner ~= ARGV[1] or term ~= tonumber(ARGV[3]) then return 0 end
remember(tenure(now, ARGV[4] == '' and 'resigned' or 'handed over'))
redis.call('HDEL', KEYS[1], 'owner', 'record', 'acquired', 'until')
redis.call('HSET', KEYS[1], 'resignedBy', ARGV[2])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'reservedFor', ARGV[4], 'reservedUntil', int(now + tonumber(ARGV[5])))
end
redis.call('PUBLISH', ARGV[6], '')
return 1
`;

/** ARGV: 1 node id, 2 reserved ms, 3 watch channel. */
const reserveLua = `${leaseHead}
redis.call('HSET', KEYS[1], 'reservedFor', ARGV[1], 'reservedUntil', int(math.max(now, untilMs) + tonumber(ARGV[2])))
redis.call('PUBLISH', ARGV[3], '')
return 1
`;

/** KEYS 1: waiting; ARGV 1: candidate key. */
const withdrawLua = `return redis.call('ZREM', KEYS[1], ARGV[1])`;

const leaseLua = `${leaseHead}
return describe()
`;

/** KEYS 1: set of names; ARGV 1: how lease keys begin. The lease keys are in the same slot by their hash tag. */
const leasesLua = `${clock}
local answer = {}
for i, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local key = ARGV[1] .. name
  local f = redis.call('HMGET', key, 'term', 'until', 'record')
  local untilMs = tonumber(f[2] or 0)
  local held = untilMs > now
  local ids = {}
  for j, member in ipairs(redis.call('ZRANGEBYSCORE', key .. ':waiting', '(' .. int(now), '+inf')) do ids[j] = string.match(member, '^%S+') end
  answer[i] = { name, tonumber(f[1] or 0), held and f[3] or '', held and untilMs - now or 0, ids }
end
return answer
`;

/** ARGV 1: how many. */
const leaseHistoryLua = `${leaseHead}
local limit = tonumber(ARGV[1])
local answer = {}
if owner then answer[1] = held and tenure() or tenure(untilMs, 'expired') end
for _, json in ipairs(redis.call('LRANGE', KEYS[3], 0, limit - 1)) do
  if #answer < limit then answer[#answer + 1] = json end
end
return answer
`;

/** KEYS: 1 nodes, 2 expiry, 3 revision; ARGV: 1 id, 2 incarnation, 3 steady part, 4 figures, 5 ttl, 6 watch channel. */
const heartbeatLua = `${clock}
local changed = false
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', int(now), 'LIMIT', 0, 100)
if #gone > 0 then
  redis.call('HDEL', KEYS[1], unpack(gone))
  redis.call('ZREM', KEYS[2], unpack(gone))
  changed = true
end
local before = redis.call('HGET', KEYS[1], ARGV[1])
if not before and redis.call('HLEN', KEYS[1]) >= ${nodesMax} then return { -1, '' } end
local start = ARGV[2] .. '\\n'
local steady = start .. ARGV[3] .. '\\n'
local replaced = before and string.sub(before, 1, #start) ~= start
if not before or string.sub(before, 1, #steady) ~= steady then changed = true end
redis.call('HSET', KEYS[1], ARGV[1], steady .. ARGV[4])
redis.call('ZADD', KEYS[2], int(now + tonumber(ARGV[5])), ARGV[1])
if changed then redis.call('PUBLISH', ARGV[6], '') end
return { tonumber(redis.call('GET', KEYS[3]) or 0), replaced and before or '' }
`;

/** KEYS: 1 nodes, 2 expiry; ARGV: 1 id, 2 incarnation, 3 watch channel. */
const deregisterLua = `
local before = redis.call('HGET', KEYS[1], ARGV[1])
local start = ARGV[2] .. '\\n'
if not before or string.sub(before, 1, #start) ~= start then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('PUBLISH', ARGV[3], '')
return 1
`;

/** KEYS: 1 nodes, 2 expiry. Read in pieces of 1000: Lua's unpack has a limit of about 8000. */
const nodesLua = `${clock}
local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. int(now), '+inf')
local answer = {}
for first = 1, #ids, 1000 do
  for _, record in ipairs(redis.call('HMGET', KEYS[1], unpack(ids, first, math.min(first + 999, #ids)))) do
    if record then answer[#answer + 1] = record end
  end
end
return answer
`;

/** KEYS: 1 document, 2 revision. */
const readDocumentLua = `
local f = redis.call('HMGET', KEYS[1], 'version', 'value')
return { tonumber(f[1] or 0), f[2] or '', tonumber(redis.call('GET', KEYS[2]) or 0) }
`;

/** KEYS 1: set of document keys; ARGV 1: what they begin with in Redis. */
const documentsLua = `
local documents = {}
for i, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local f = redis.call('HMGET', ARGV[1] .. name, 'version', 'value')
  documents[i] = { name, tonumber(f[1] or 0), f[2] or '' }
end
return documents
`;

/**
 * KEYS: 1 document, 2 its request ids, 3 revision, 4 set of document keys; ARGV: 1 expected version, 2 value, 3 request id, 4 watch channel,
 * 5 document key.
 */
const writeDocumentLua = `
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
if version ~= tonumber(ARGV[1]) then
  for _, line in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
    local id, written, revision = string.match(line, '^(%S+) (%d+) (%d+)$')
    if id == ARGV[3] then return { 1, tonumber(written), tonumber(revision) } end
  end
  return { 0, version, 0 }
end
version = version + 1
local revision = redis.call('INCR', KEYS[3])
redis.call('HSET', KEYS[1], 'version', version, 'value', ARGV[2])
redis.call('SADD', KEYS[4], ARGV[5])
redis.call('LPUSH', KEYS[2], ARGV[3] .. ' ' .. version .. ' ' .. revision)
redis.call('LTRIM', KEYS[2], 0, ${requestIdsPerDocumentMax - 1})
redis.call('PUBLISH', ARGV[4], '')
return { 1, version, revision }
`;

/** Term, owner as JSON or '', what is left of it, node ids of those who wait. */
export type LeaseReply = [term: number, record: string, remainingMs: number, waiting: string[]];

type Arguments = (string | number)[];

/** What `defineScripts` adds to a client; first the keys, then the arguments, as the scripts above say. */
export interface ScriptCommands {
  campaign(...args: Arguments): Promise<[1, number] | [0, LeaseReply]>;
  resign(...args: Arguments): Promise<0 | 1>;
  withdraw(...args: Arguments): Promise<0 | 1>;
  reserve(...args: Arguments): Promise<1>;
  lease(...args: Arguments): Promise<LeaseReply>;
  leases(...args: Arguments): Promise<[name: string, ...LeaseReply][]>;
  leaseHistory(...args: Arguments): Promise<string[]>;
  heartbeat(...args: Arguments): Promise<[revision: number, replaced: string]>;
  deregister(...args: Arguments): Promise<0 | 1>;
  nodes(...args: Arguments): Promise<string[]>;
  readDocument(...args: Arguments): Promise<[version: number, value: string, revision: number]>;
  documents(...args: Arguments): Promise<[key: string, version: number, value: string][]>;
  writeDocument(...args: Arguments): Promise<[written: 0 | 1, version: number, revision: number]>;
}

const scripts: Record<keyof ScriptCommands, { lua: string; numberOfKeys: number }> = {
  campaign: { lua: campaignLua, numberOfKeys: 4 },
  resign: { lua: resignLua, numberOfKeys: 3 },
  withdraw: { lua: withdrawLua, numberOfKeys: 1 },
  reserve: { lua: reserveLua, numberOfKeys: 1 },
  lease: { lua: leaseLua, numberOfKeys: 3 },
  leases: { lua: leasesLua, numberOfKeys: 1 },
  leaseHistory: { lua: leaseHistoryLua, numberOfKeys: 3 },
  heartbeat: { lua: heartbeatLua, numberOfKeys: 3 },
  deregister: { lua: deregisterLua, numberOfKeys: 2 },
  nodes: { lua: nodesLua, numberOfKeys: 2 },
  readDocument: { lua: readDocumentLua, numberOfKeys: 2 },
  documents: { lua: documentsLua, numberOfKeys: 1 },
  writeDocument: { lua: writeDocumentLua, numberOfKeys: 4 },
};

/** ioredis sends each by its hash, and the text only when the server does not know it yet. */
export function defineScripts(client: Redis | Cluster): ScriptCommands {
  const prefixed: Record<string, unknown> = {};
  for (const [name, script] of Object.entries(scripts)) {
    client.defineCommand(`binnacle_${name}`, script);
    const command = (client as unknown as Record<string, (...args: Arguments) => unknown>)[`binnacle_${name}`]!;
    prefixed[name] = (...args: Arguments) => command.apply(client, args);
  }
  return prefixed as unknown as ScriptCommands;
}
