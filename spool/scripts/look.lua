-- Say that this server is here: {1 where somebody has spooled of late, the servers that are here}.
-- KEYS: active, servers. ARGV: this server, after how many seconds of silence one is gone
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[2], 2 * tonumber(ARGV[2]))
return {redis.call('EXISTS', KEYS[1]), redis.call('ZRANGE', KEYS[2], 0, -1)}
