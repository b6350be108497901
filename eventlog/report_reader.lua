-- Notes how far a reader has read, and mirrors it as a consumer group from which nobody consumes, so that
-- XINFO GROUPS shows its lag.
--
-- KEYS  1 stream  2 meta  3 readers (hash)    ARGV  log id, name, kind, position, sequence
-- Answers 1; 0 with nothing written where the log is another, or gone.

local stream, meta, readers = KEYS[1], KEYS[2], KEYS[3]
local log_id, name, kind, position, sequence = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local known = redis.call('HMGET', meta, 'log_id', 'sequence', 'trimmed')
if known[1] ~= log_id or redis.call('EXISTS', stream) == 0 then return 0 end

-- Near the end what lies behind the reader is counted; farther off, what there ever was less what it has read.
local function count_behind()
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if not newest or newest[1] == position then return 0 end
  local near = #redis.call('XRANGE', stream, '(' .. position, '+', 'COUNT', 1000)
  if near < 1000 then return near end
  local counted = (tonumber(known[2]) or 0) - (tonumber(known[3]) or 0)
  local there = math.max(redis.call('XLEN', stream), counted)
  return math.max(near, there + (tonumber(known[3]) or 0) - tonumber(sequence))
end

-- Redis counts entries for itself, from another start where a log was adopted or restored; before version 7 not at all.
local entries_read = {}
local about = redis.call('XINFO', 'STREAM', stream)
for i = 1, #about, 2 do
  if about[i] == 'entries-added' then
    entries_read = {'ENTRIESREAD', string.format('%d', math.max(0, about[i + 1] - count_behind()))}
  end
end

-- First what a Redis without memory refuses.
local now = redis.call('TIME')
local seen_ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
redis.call('HSET', readers, name, table.concat({kind, position, sequence, seen_ms}, ' '))
local set = redis.pcall('XGROUP', 'SETID', stream, name, position, unpack(entries_read))
if type(set) == 'table' and set.err then
  redis.call('XGROUP', 'CREATE', stream, name, position, unpack(entries_read))
end
return 1
