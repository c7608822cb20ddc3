-- Put a loaded conversation in place, but only while the load lease is still ours: whatever was
-- added since has dropped the lease. ARGV: token, ttl, summary, turns, entries …
if redis.call('GET', loading) ~= ARGV[1] then return 0 end
drop()
for first = 5, #ARGV, 1000 do  -- unpack takes a few thousand values at most
  redis.call('RPUSH', messages, unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
redis.call('SET', summary, ARGV[3])
redis.call('SET', turns, ARGV[4])
refresh(ARGV[2])
return 1
