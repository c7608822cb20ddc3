-- Add a message that the permanent store has. Answers what became of it: 'added', 'begun' (nothing was
-- there, and it is a conversation's first), 'there' (already), 'trimmed' (older than all that is kept),
-- 'refused' (of an older revision), or why the three keys were dropped: 'absent', 'broken', 'stale'.
-- ARGV: ttl, max messages, entry, id hash, order key, revision, answers (-1: it is a question), and the
-- summary of a conversation that begins with it, '' for any other
local ttl, max = ARGV[1], tonumber(ARGV[2])
local entry, hash, order = ARGV[3], ARGV[4], ARGV[5]
local revision, answers = tonumber(ARGV[6]), tonumber(ARGV[7])
local first_summary = ARGV[8]

-- So many seconds a conversation that begins has until its answer comes. Where it was deleted in this
-- very moment none will, and nobody else lets go of it.
local UNTIL_ANSWERED = 300

local function dropped(why)
  drop()
  return why
end

local now = standing()
if now.condition == 'absent' and first_summary ~= '' then
  drop()
  redis.call('RPUSH', messages, entry)
  redis.call('SET', summary, first_summary)
  redis.call('SET', turns, 0)
  refresh(math.min(tonumber(ttl), UNTIL_ANSWERED))
  return 'begun'
end
-- Also when nothing is there: whoever is loading right now may have read before this message was.
if now.condition ~= 'whole' then return dropped(now.condition) end
if revision > now.revision then return dropped('stale') end
if revision < now.revision then return 'refused' end

-- Walk back to the place where it belongs; almost always that is the end.
local place, i, current = nil, -1, now.last
while current do
  local its_hash, its_order = header(current)
  if not its_order or its_order < order then break end
  if its_order == order then
    if its_hash ~= hash then return dropped('stale') end
    refresh(ttl)
    return 'there'
  end
  place, i = current, i - 1
  current = redis.call('LINDEX', messages, i)
end
local trimmed = not current and redis.call('LLEN', messages) >= max

-- What must have come before it has to be here, else Redis has lost something meanwhile.
local n = math.ceil(tonumber(order, 16) / 2)
if last_turn() < (answers < 0 and n - 1 or n) then return dropped('stale') end
if answers >= 0 and now.answers ~= answers - 1 and not (trimmed and now.answers >= answers) then
  return dropped('stale')
end

if not trimmed then
  if place then
    redis.call('LINSERT', messages, 'BEFORE', place, entry)
  else
    redis.call('RPUSH', messages, entry)
  end
  redis.call('LTRIM', messages, -max, -1)
end
if answers > now.answers then redis.call('SET', turns, answers) end
redis.call('DEL', loading)
refresh(ttl)
return trimmed and 'trimmed' or 'added'
