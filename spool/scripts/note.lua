-- Note a conversation ('' where it is as it was) and a turn of it ('' for none) on its card.
-- Of closed turns only the last is kept.
local card = KEYS[1]
local ttl, about, turn, number, is_open = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]

if about ~= '' then redis.call('HSET', card, 'about', about) end
if turn ~= '' then
  local field = 't:' .. number
  local last = tonumber(redis.call('HGET', card, 'last') or 0)
  if is_open == '1' then
    redis.call('HSET', card, field, turn)
  elseif number < last then
    redis.call('HDEL', card, field)
  else
    if number > last and last > 0 then redis.call('HDEL', card, 't:' .. last) end
    redis.call('HSET', card, field, turn, 'last', number)
  end
end
redis.call('PEXPIRE', card, ttl)
return 1
