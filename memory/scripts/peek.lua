-- A conversation that is whole, {entries, summary, turns}; {} otherwise. Changes and loads nothing.
local now = standing()
if now.condition ~= 'whole' then return {} end
return {redis.call('LRANGE', messages, 0, -1), now.text, now.count}
