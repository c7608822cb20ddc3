-- A conversation that is whole and covers the position asked for: {'hot', entries, summary, turns}.
-- Anything else is dropped, and the load lease asked for: {'leased'|'busy', why}.
local ttl, token, lease_ms = ARGV[1], ARGV[2], ARGV[3]
local revision, turn, answers = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local now = standing()
local why = now.condition
if why == 'whole' then
  -- A newer revision than the caller knows of is no reason to load: the store has nothing newer.
  if now.revision > revision
    or (now.revision == revision and now.answers >= answers and last_turn() >= turn) then
    refresh(ttl)
    return {'hot', redis.call('LRANGE', messages, 0, -1), now.text, now.count}
  end
  why = 'stale'
end
redis.call('DEL', messages, summary, turns)
if redis.call('SET', loading, token, 'NX', 'PX', lease_ms) then return {'leased', why} end
return {'busy', why}
