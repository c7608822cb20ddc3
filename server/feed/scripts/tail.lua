-- What a follower of the log begins with: {'there', last id, state, said, used, bodies …}: the running
-- answer's text and tools as they were at one moment, and then each delta and each use of a tool since.
-- {'absent'} where there is no log.
-- ARGV: ttl
local now = standing()
if not now then return {'absent'} end
redis.call('EXPIRE', log, ARGV[1])
local answer = {'there', now.last[1], field(now.last, 's'), '', ''}
local running, live
for id, each in pairs(now.state.live) do
  if each.status == 'running' then running, live = id, each end
end
if not live or (live.next == 0 and (live.tools or 0) == 0) then return answer end

-- Backwards to where its text and tools are known.
local bodies, said, used, to = {}, nil, '', '+'
while not said do
  local some = redis.call('XREVRANGE', log, to, '-', 'COUNT', 100)
  for _, entry in ipairs(some) do
    local rule = cjson.decode(field(entry, 'r'))
    local text = field(entry, 'x')
    if text then
      said, used = text, field(entry, 't') or ''
      break
    end
    if rule[1] == 'started' and rule[3] == running then
      said = ''
      break
    end
    if rule[1] == 'delta' or rule[1] == 'tool' then bodies[#bodies + 1] = field(entry, 'b') end
    to = '(' .. entry[1]
  end
  if #some == 0 then  -- trimmed so far that nobody can tell it: it has to begin anew
    redis.call('DEL', log)
    return {'absent'}
  end
end
answer[4], answer[5] = said, used
for i = #bodies, 1, -1 do answer[#answer + 1] = bodies[i] end
return answer
