-- Replace the summary by a newer version for the same revision. ARGV: ttl, summary, revision, version
local now = standing()
local revision = tonumber(ARGV[3])
-- Whoever is loading may have read the store before it had this summary: drop the lease with it.
if now.condition ~= 'whole' then drop() return now.condition end
if revision > now.revision then drop() return 'stale' end
if revision < now.revision or tonumber(ARGV[4]) <= now.version then return 'refused' end
redis.call('SET', summary, ARGV[2])
redis.call('DEL', loading)
refresh(ARGV[1])
return 'saved'
