-- Where Redis is the only copy: one change, which may also be several made during an outage. Applied
-- once, however often it is sent: its token is who makes it (16 hex digits) and which of theirs it is
-- (16 more). They send one after the other, each until it is answered, so the summary value need only
-- keep the last one of each of the latest 16 makers.
-- ARGV: ttl, max, token, '1' to clear first, turns to count, summary as a JSON string or '',
-- entries … Answers {turns, was there anything before, was something broken dropped}.
local ttl, max, token, clear = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] == '1'
local maker, makers = string.sub(token, 1, 16), 16
local counted, new_summary = tonumber(ARGV[5]), ARGV[6]

local now = standing()
local broken = now.condition == 'broken' and 1 or 0
if broken == 1 then
  drop()
  now = standing()
end
local existed = (now.last or now.text or now.count) and 1 or 0

local ops, rest = '', '}'
if now.text then
  ops, rest = string.match(now.text, '^{"v":1,"r":%d+,"n":%d+,"ops":"([%x,]*)"(.*)$')
  if not ops then  -- a plain text of an earlier program
    ops, rest = '', ',"text":' .. cjson.encode(now.text) .. ',"upto":0,"turns":0}'
    now.version = 1
  end
end
local others = {}
for done in string.gmatch(ops, '%x+') do
  if string.sub(done, 1, 16) ~= maker then
    others[#others + 1] = done
  elseif done >= token then
    refresh(ttl)
    return {now.answers, existed, broken}
  end
end

if clear then
  redis.call('DEL', messages)
  now.answers, now.version, rest = 0, 0, '}'
end
now.answers = now.answers + counted
if new_summary ~= '' then
  now.version = now.version + 1
  rest = ',"text":' .. new_summary .. ',"upto":0,"turns":' .. string.format('%d', now.answers) .. '}'
end
others[#others + 1] = token
ops = table.concat(others, ',', math.max(1, #others - makers + 1))

if #ARGV > 6 then
  local known = {}
  for _, entry in ipairs(redis.call('LRANGE', messages, 0, -1)) do
    local hash = header(entry)
    if hash then known[hash] = true end
  end
  for i = 7, #ARGV do
    local hash = header(ARGV[i])
    if not known[hash] then
      known[hash] = true
      redis.call('RPUSH', messages, ARGV[i])
    end
  end
  redis.call('LTRIM', messages, -max, -1)
end
redis.call('SET', turns, string.format('%d', now.answers))
redis.call('SET', summary, string.format('{"v":1,"r":%d,"n":%d,"ops":"%s"', now.revision, now.version, ops) .. rest)
refresh(ttl)
return {now.answers, existed, broken}
