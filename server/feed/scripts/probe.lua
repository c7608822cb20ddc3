-- All that the other scripts do, once, on a key of its own: a Redis that refuses any of it can't share
-- logs. XTRIM's MINID and exclusive ranges came with Redis 6.2.
local key = KEYS[1]
assert(string.match(redis.call('INFO', 'server'), 'run_id:(%x+)'))
redis.call('XADD', key, 'MAXLEN', '~', 10, '1-1', 'v', '1')
redis.call('EXPIRE', key, 1)
redis.call('XTRIM', key, 'MINID', '1-1')
redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)
redis.call('XRANGE', key, '(0-1', '+', 'COUNT', 1)
redis.call('PUBLISH', key, '')
redis.call('DEL', key)
return 1
