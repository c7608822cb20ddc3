-- Begin a log from a checkpoint that was read under the lease. Answers 'begun', 'there' (another has
-- begun it), or 'overtaken' (somebody had news meanwhile: read the store again).
-- Those who follow the log that was there are told. ARGV: ttl, token, the epoch to replace or '', the
-- new epoch, state, what its running answer has said and which tools it has used, channel
local ttl, token, replaced, epoch, state_text, said, used, channel = unpack(ARGV)
if redis.call('GET', lease) ~= token then return 'overtaken' end
redis.call('DEL', lease)
local now = standing()
if now and now.epoch ~= replaced then return 'there' end
redis.call('DEL', log)
local state = cjson.decode(state_text)
state.run, state.bytes = run_id(), 0
local entry = {'v', '1', 'r', '["begun"]', 'e', '', 'b', '', 's', cjson.encode(state), 'x', said, 't', used}
redis.call('XADD', log, epoch .. '-0', unpack(entry))
redis.call('EXPIRE', log, ttl)
redis.call('PUBLISH', channel, epoch .. '-0\n["begun",0,""]\n\n')
return 'begun'
