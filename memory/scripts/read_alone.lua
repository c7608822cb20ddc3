-- Where Redis is the only copy: {entries, summary or '', turns or '0'}; creates nothing.
-- What is broken can't be mended, as there is nothing to load it from: {false} once it is dropped.
local now = standing()
if now.condition == 'broken' then
  drop()
  return {false}
end
if not (now.last or now.text or now.count) then return {{}, '', '0'} end
refresh(ARGV[1])
return {redis.call('LRANGE', messages, 0, -1), now.text or '', now.count or '0'}
