-- Frees the oldest entries, as far as every known reader has them, and records it in the same step. What other writers
-- added behind the log's last counted entry is counted first, as publishing does, where that is freed too.
--
-- KEYS  1 stream  2 meta  3 readers (hash)
-- ARGV  log id, how many entries to keep, the position from which on all are kept, how many to free at most,
--       '1' to free nothing and only say what would be, then where to go on looking and how many were found so far
--
-- Answers  {'freed', how many, the first that stays, why it stays ('reader', 'last', 'keep' or 'more'), reader}
--          {'no archive'}  {'unreadable', reader}  {'replaced', why}  {'rewound', why}

local stream, meta, readers = KEYS[1], KEYS[2], KEYS[3]
local log_id, keep, keep_from, at_most = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local dry_run, from, found = ARGV[5] == '1', ARGV[6], tonumber(ARGV[7])

local known = redis.call('HMGET', meta, 'log_id', 'last_position', 'trimmed', 'sequence')
local last_own, trimmed, sequence = known[2] or '0-0', tonumber(known[3] or '0'), tonumber(known[4] or '0')
if not known[1] then return {'replaced', 'there is no log'} end
if known[1] ~= log_id then return {'replaced', 'the log is ' .. known[1]} end
if redis.call('EXISTS', stream) == 0 then return {'replaced', 'the stream is gone'} end
if not trimmed or not sequence or not last_own:match('^%d+-%d+$') then return {'rewound', 'what it says of itself is damaged'} end
if last_own ~= '0-0' and #redis.call('XRANGE', stream, last_own, last_own) == 0 then
  return {'rewound', 'its last own entry ' .. last_own .. ' is gone'}
end

local slowest, lowest, archived = '', nil, false
local told = redis.call('HGETALL', readers)
for i = 1, #told, 2 do
  local kind, position = told[i + 1]:match('^(%l+) (%d+%-%d+) %d+ %d+$')
  if not kind then return {'unreadable', told[i]} end
  archived = archived or kind == 'archive'
  if not lowest or is_after(lowest, position) then slowest, lowest = told[i], position end
end
if not archived then return {'no archive'} end

-- The last that is counted stays, and shows the publisher that this is its log.
local last, counted = last_own, sequence
if dry_run and is_after(from, last) then last = from end -- nothing was recorded of what came before
local behind = {}
if is_after(lowest, last) then behind = redis.call('XRANGE', stream, '(' .. last, lowest, 'COUNT', at_most) end
for _, entry in ipairs(behind) do last, counted = entry[1], counted + 1 end
local bound, why = lowest, 'reader'
if not is_after(last, lowest) then
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  bound = last
  if #behind == at_most then why = 'more' elseif not newest or newest[1] == last then why = 'last' end
end

local may_go = math.max(0, redis.call('XLEN', stream) - keep - found)
local stays, freed = from, 0
for _, entry in ipairs(redis.call('XRANGE', stream, from, '+', 'COUNT', math.min(may_go, at_most) + 1)) do
  stays = entry[1]
  if not is_after(bound, stays) then break end
  if freed == may_go or not is_after(keep_from, stays) then why = 'keep' break end
  if freed == at_most then why = 'more' break end
  freed = freed + 1
end

if freed > 0 and not dry_run then
  -- Trimming first: a Redis without memory refuses a script's first write where it could take some.
  trimmed = trimmed + redis.call('XTRIM', stream, 'MINID', '=', stays)
  redis.call('HSET', meta, 'trimmed', string.format('%d', trimmed), 'trimmed_to', stays)
  if is_after(stays, last_own) then
    redis.call('HSET', meta, 'sequence', string.format('%d', counted), 'last_position', last, 'floor', last)
  end
end
return {'freed', freed, stays, why, slowest}
