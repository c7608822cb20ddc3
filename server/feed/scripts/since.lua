-- The entries after a number, up to another, of this epoch: {'there', last number, id, rule, name,
-- body …}, at most so many; {'gone'} where it can't be proved that these are all.
-- ARGV: epoch, after, up to ('' for the last), count
local epoch, after, upto = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local now = standing()
if not now or now.epoch ~= epoch or after > now.number then return {'gone'} end
local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
local _, oldest = split(first[1])
if oldest > after + 1 then return {'gone'} end
local to = upto == '' and '+' or (epoch .. '-' .. upto)
local from = '(' .. epoch .. '-' .. string.format('%d', after)
local answer = {'there', now.number}
for _, entry in ipairs(redis.call('XRANGE', log, from, to, 'COUNT', ARGV[4])) do
  local _, number = split(entry[1])
  answer[#answer + 1] = number
  answer[#answer + 1] = field(entry, 'r')
  answer[#answer + 1] = field(entry, 'e')
  answer[#answer + 1] = field(entry, 'b')
end
return answer
