-- Take one of each of these, or nothing where one of them is used up: {1 taken or 0, then for each
-- the microseconds until all of it has grown back}. By Redis's own clock.
-- KEYS: one each. ARGV: how many were taken already, without asking (0: one is asked for; -1: one is
-- given back); for each key the microseconds in which one grows back
local MINUTE = 60 * 1000000
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local told = tonumber(ARGV[1]) or 0
local taken, missing = 1, {}
for i = 1, #ARGV - 1 do
  -- When all of it will have grown back. Never later than a minute from now, whatever the clock has
  -- done since it was noted.
  local whole = tonumber(redis.call('GET', KEYS[i])) or now
  missing[i] = math.max(0, math.min(whole - now, MINUTE))
  if told == 0 and missing[i] + ARGV[i + 1] > MINUTE then taken = 0 end
end
local reply = {taken}
for i = 1, #ARGV - 1 do
  if taken == 1 then
    local count = told == 0 and 1 or told
    missing[i] = math.max(0, math.min(missing[i] + ARGV[i + 1] * count, MINUTE))
    local whole = string.format('%.0f', now + missing[i])
    redis.call('SET', KEYS[i], whole, 'PX', math.max(1, math.ceil(missing[i] / 1000)))
  end
  reply[i + 1] = missing[i]
end
return reply
