-- A conversation is rewritten: of its card nothing is left but who had to wait, and the turns that
-- do not stand in it any more, these among them. It counts as unknown until it is noted anew.
-- KEYS: card. ARGV: milliseconds, how many of those turns are kept, and number, id of each
local card, most = KEYS[1], tonumber(ARGV[2])
if redis.call('TYPE', card).ok ~= 'hash' then redis.call('DEL', card) end
for i = 3, #ARGV, 2 do redis.call('HSET', card, 'g:' .. ARGV[i], ARGV[i + 1]) end
local gone = {}
for _, field in ipairs(redis.call('HKEYS', card)) do
  local kind, number = string.sub(field, 1, 2), tonumber(string.sub(field, 3))
  if kind == 'g:' and number then
    gone[#gone + 1] = number
  elseif kind ~= 'w:' then
    redis.call('HDEL', card, field)
  end
end
table.sort(gone)
for i = 1, #gone - most do redis.call('HDEL', card, 'g:' .. gone[i]) end
redis.call('PEXPIRE', card, ARGV[1])
return 1
