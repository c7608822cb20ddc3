-- What every script on a log begins with: the log's last entry, and the rules of server/feed/log.py.
local log, lease = KEYS[1], KEYS[2]

-- Another process, or the same Redis with what it had before: then its entries' ids were given twice,
-- and a cursor could fit what its reader never saw.
local function run_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end

local function field(entry, name)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

local function split(id)
  local epoch, number = string.match(id, '^(%d+)-(%d+)$')
  return epoch, tonumber(number)
end

-- The log as it stands, or nil: none, broken, or left from another life of Redis.
local function standing()
  local found = redis.pcall('XREVRANGE', log, '+', '-', 'COUNT', 1)
  if found.err then
    redis.call('DEL', log)
    return nil
  end
  local last = found[1]
  if not last then return nil end
  local is_whole, state = pcall(cjson.decode, field(last, 's') or '')
  if not is_whole or type(state) ~= 'table' or state.run ~= run_id() then return nil end
  local is_ours = type(state.live) == 'table' and tonumber(state.bytes) and tonumber(state.n)
  if not is_ours then return nil end
  local epoch, number = split(last[1])
  return {epoch = epoch, number = number, state = state, last = last}
end

local NONE = cjson.null

local function verdict_on_a_new_turn(state, rule)
  local kind, n = rule[1], rule[2]
  if n <= state.n then return 'skip' end
  if n > state.n + 1 then return 'behind' end
  if kind == 'removed' then
    local revision = rule[5]
    if revision <= state.revision then return 'skip' end
    if revision > state.revision + 1 then return 'lost' end
    for _, live in pairs(state.live) do
      if live.place >= rule[4] then return 'lost' end
    end
  end
  return 'take'
end

local function verdict(state, rule)
  local kind, n = rule[1], rule[2]
  if kind == 'created' or kind == 'removed' then return verdict_on_a_new_turn(state, rule) end
  if kind == 'stored' then
    if n > state.n then return 'behind' end
    return rule[4] > (state.mark or 0) and 'take' or 'skip'
  end
  local live = state.live[rule[3]]
  if not live then
    if n > state.n then return 'behind' end
    return (kind == 'started' or kind == 'delta' or kind == 'tool') and 'stale' or 'skip'
  end
  if kind == 'queued' then return live.status == 'created' and 'take' or 'skip' end
  if kind == 'started' then
    local attempt = rule[4]
    if attempt <= live.attempt then return attempt == live.attempt and 'skip' or 'stale' end
    for _, other in pairs(state.live) do
      if other.n < n then return 'lost' end
    end
    return 'take'
  end
  if kind == 'delta' or kind == 'tool' then
    local attempt, index = rule[4], rule[5]
    if attempt < live.attempt then return 'stale' end
    if attempt > live.attempt or live.status ~= 'running' then return 'lost' end
    local following = kind == 'delta' and live.next or live.tools or 0
    if index < following then return 'skip' end
    return index == following and 'take' or 'lost'
  end
  if kind == 'ended' then
    local attempt, size, is_whole = rule[5], rule[6], rule[7]
    local fits = attempt == live.attempt or (not is_whole and attempt > live.attempt)
    if size ~= NONE and not (fits and size == live.size) then
      local is_more = attempt > live.attempt or (attempt == live.attempt and size > live.size)
      return is_more and 'behind' or 'lost'
    end
  end
  return 'take'
end

local function new_turn(n, place)
  return {n = n, place = place, status = 'created', attempt = 0, next = 0, size = 0}
end

local follow = {}

function follow.created(state, rule)
  state.n, state.turn = rule[2], rule[4]
  state.live[rule[3]] = new_turn(rule[2], rule[4])
end

function follow.removed(state, rule)
  local n, id, place, revision, answers, asks, taken = unpack(rule, 2)
  state.revision, state.answers = revision, math.max(answers, state.answers - taken)
  state.turn = asks and place - 1 or place
  if not asks then
    state.n = n
    state.live[id] = new_turn(n, place)
  end
end

function follow.queued(state, rule)
  state.live[rule[3]].status = 'queued'
end

function follow.started(state, rule)
  local live = state.live[rule[3]]
  live.status, live.attempt, live.next, live.size, live.tools = 'running', rule[4], 0, 0, nil
end

function follow.stored(state, rule)
  state.mark = rule[4]
end

function follow.delta(state, rule)
  local live = state.live[rule[3]]
  live.next = rule[5] + 1
  live.size = live.size + rule[6]
end

function follow.tool(state, rule)
  state.live[rule[3]].tools = rule[5] + 1
end

function follow.ended(state, rule)
  state.live[rule[3]] = nil
  local answers = rule[4]
  if answers ~= NONE and answers > state.answers then state.answers = answers end
end
