-- Take or renew a lease, whose value is "holder place": 1 when it is the asker's now, 0 while it is
-- another's. ARGV: holder, place, milliseconds
local found = redis.call('GET', KEYS[1])
if found and string.match(found, '^%S+') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 1
