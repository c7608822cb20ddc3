-- What every script on a conversation's keys begins with.
local messages, summary, turns, loading = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

-- An entry's id hash and order key, or nil for an entry of another program.
local HEX = string.rep('%x', 16)
local HEADER = '^{"v":1,"h":"(' .. HEX .. ')","o":"(' .. HEX .. ')",'
local function header(entry)
  return string.match(entry, HEADER)
end

local UNNUMBERED = string.rep('f', 16)

-- The number of the last question: the list ascends, so its last numbered entry tells it.
local function last_turn()
  local i = -1
  local entry = redis.call('LINDEX', messages, i)
  while entry do
    local _, order = header(entry)
    if not order then return 0 end
    if order ~= UNNUMBERED then return math.ceil(tonumber(order, 16) / 2) end
    i = i - 1
    entry = redis.call('LINDEX', messages, i)
  end
  return 0
end

local function drop()
  redis.call('DEL', messages, summary, turns, loading)
end

-- All to one moment: EXPIRE reads the clock each time, which may tick in between.
local function refresh(ttl)
  local time = redis.call('TIME')
  local at = string.format('%d', (tonumber(time[1]) + ttl) * 1000 + math.floor(time[2] / 1000))
  redis.call('PEXPIREAT', messages, at)
  redis.call('PEXPIREAT', summary, at)
  redis.call('PEXPIREAT', turns, at)
end

-- The three values' condition: 'whole', 'absent' when one is missing, 'broken' when one is not ours.
-- Numbers of more than 15 digits are not: Lua's doubles would corrupt them.
-- Errors of type are caught, because an error would leave the poison where it is.
local function standing()
  local last = redis.pcall('LINDEX', messages, -1)
  local text = redis.pcall('GET', summary)
  local count = redis.pcall('GET', turns)
  if type(last) == 'table' or type(text) == 'table' or type(count) == 'table' then
    return {condition = 'broken'}
  end
  local found = {last = last, text = text, count = count, revision = 0, version = 0, answers = 0}
  found.condition = (last and text and count) and 'whole' or 'absent'
  if text then
    local revision, version = string.match(text, '^{"v":1,"r":(%d+),"n":(%d+),"ops":"[%x,]*"')
    if revision and #revision <= 15 and #version <= 15 then
      found.revision, found.version = tonumber(revision), tonumber(version)
    elseif string.sub(text, 1, 5) == '{"v":' then
      found.condition = 'broken'
    end
  end
  if count then
    found.answers = #count <= 15 and string.match(count, '^%d+$') and tonumber(count)
    if not found.answers then found.condition = 'broken' end
  end
  if last and string.sub(last, 1, 5) == '{"v":' and not header(last) then
    found.condition = 'broken'
  end
  return found
end
