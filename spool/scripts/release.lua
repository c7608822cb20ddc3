-- Give a lease back, if it still is the asker's. ARGV: holder
local found = redis.call('GET', KEYS[1])
if found and string.match(found, '^%S+') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
