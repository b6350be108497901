-- Forgets of the given subjects those last touched before what was trimmed, as of now: a publisher may just have touched one.
--
-- KEYS  1 meta  2 subjects
-- ARGV  log id, subjects...
-- Answers how many were forgotten, or nil where the log is another

local known = redis.call('HMGET', KEYS[1], 'log_id', 'trimmed_to')
if known[1] ~= ARGV[1] then return nil end
local forgotten = 0
for i = 2, #ARGV do
  local touched = redis.call('HGET', KEYS[2], ARGV[i])
  if touched and touched:match('^%d+-%d+$') and is_after(known[2] or '0-0', touched) then
    forgotten = forgotten + redis.call('HDEL', KEYS[2], ARGV[i])
  end
end
return forgotten
