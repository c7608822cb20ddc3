-- Take these events, in this order, as far as the rules allow. Answers {status, number, epoch, verdicts…}:
-- 'ok', or why it stopped before the first that has no verdict: 'behind', 'lost', or 'gone', where there
-- is no log (whoever is beginning one has read the store before this was in it, and loses its lease).
-- ARGV: ttl, most events, most bytes, channel; then of each event rule, name, body, and, now and then
-- and '' else, all that its answer has said with it, and the tools that it has used.
local ttl, most_events, most_bytes, channel = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local now = standing()
if not now then
  redis.call('DEL', lease)
  return {'gone', 0, ''}
end
local state, number = now.state, now.number
local answer, taken = {'ok', 0, now.epoch}, false
local bytes_before = state.bytes

for i = 5, #ARGV, 5 do
  local rule_text, name, body, said, used = unpack(ARGV, i, i + 4)
  local rule = cjson.decode(rule_text)
  local verdict = verdict(state, rule)
  if verdict == 'behind' or verdict == 'lost' then
    answer[1] = verdict
    break
  end
  answer[#answer + 1] = verdict
  if verdict == 'take' then
    taken = true
    if follow[rule[1]] then follow[rule[1]](state, rule) end
    number = number + 1
    state.bytes = state.bytes + #body + #said + #used + 300
    local id = now.epoch .. '-' .. string.format('%d', number)
    local entry = {'v', '1', 'r', rule_text, 'e', name, 'b', body, 's', cjson.encode(state)}
    if said ~= '' or used ~= '' then
      entry[11], entry[12], entry[13], entry[14] = 'x', said, 't', used
    end
    redis.call('XADD', log, 'MAXLEN', '~', most_events, id, unpack(entry))
    redis.call('PUBLISH', channel, id .. '\n' .. rule_text .. '\n' .. name .. '\n' .. body)
  end
end

-- The oldest go also by what they weigh: looked at whenever another eighth has come.
local step = most_bytes / 8
if math.floor(state.bytes / step) > math.floor(bytes_before / step) then
  local from, kept = '-', nil
  while not kept do
    local some = redis.call('XRANGE', log, from, '+', 'COUNT', 100)
    for _, entry in ipairs(some) do
      if cjson.decode(field(entry, 's')).bytes > state.bytes - most_bytes then
        kept = entry[1]
        break
      end
      from = '(' .. entry[1]
    end
    if #some == 0 then break end
  end
  if kept then redis.call('XTRIM', log, 'MINID', kept) end
end
if taken then redis.call('EXPIRE', log, ttl) end
answer[2] = number
return answer
