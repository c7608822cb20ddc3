-- Note a conversation ('' where it is as it was) and a turn of it ('' for none) on its card.
-- Of closed turns only the last is kept.
local KEPT = 30
local card = KEYS[1]
local ttl, about, turn, number, is_open = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]

-- A turn's end may be noted after its conversation was deleted, or while it is rewritten.
if about == '' and redis.call('HEXISTS', card, 'about') == 0 then return 0 end
if about ~= '' then redis.call('HSET', card, 'about', about) end
if ARGV[6] == '1' then redis.call('HSET', card, 'made', '1') end
if turn ~= '' then
  -- Whether it had to wait is part of what its sender was answered, and is again.
  if ARGV[7] ~= '' then
    redis.call('HSET', card, 'w:' .. number, ARGV[7])
    -- A range, because notes may come in another order than they were made.
    local old = {}
    for n = number - 3 * KEPT, number - KEPT do old[#old + 1] = 'w:' .. n end
    redis.call('HDEL', card, unpack(old))
  end
  local field = 't:' .. number
  local last = tonumber(redis.call('HGET', card, 'last') or 0)
  if is_open == '1' then
    -- A note that comes late opens nothing again.
    if number ~= last then redis.call('HSET', card, field, turn) end
  elseif number < last then
    redis.call('HDEL', card, field)
  else
    if number > last and last > 0 then redis.call('HDEL', card, 't:' .. last) end
    redis.call('HSET', card, field, turn, 'last', number)
  end
end
redis.call('PEXPIRE', card, ttl)
return 1
