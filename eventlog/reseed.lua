-- Makes what is staged the log, in one step: no publisher meets a half of it.
--
-- KEYS  1 stream  2 meta  3 subjects  4 named commands  5 staged entries  6 staged named commands  7 the run's place
--       8 where what is there is put aside
-- ARGV  log id, how many entries, position of the last, adopted to, prefix of command records,
--       their lifetime in ms, how many named commands, the run's token, '1' to put aside what the log has still, or the
--       position up to which that was looked at, whatever was counted; then field and value of each counter
--
-- Answers  {'restored', how many commands are remembered}  {'entries', how many are there, first, last, 1 if they are of this log}
--          {'another log', its id}  {'ahead', how many entries it counted}  {'in the way', key}
--          {'further', position of the last that is there}  {'not staged', how many entries are}
--
-- Scripts do not roll back: everything that can refuse comes before the first write.

local stream, meta, subjects, named, staged, staged_commands, place, aside = unpack(KEYS)
local log_id, sequence, last, adopted_to, prefix, lifetime_ms, commands, token, replace = unpack(ARGV, 1, 9)
lifetime_ms = tonumber(lifetime_ms)

local function kind_of(key)
  local kind = redis.call('TYPE', key)
  return kind.ok or kind
end

local kind = kind_of(stream)
if kind ~= 'none' and kind ~= 'stream' then return {'in the way', stream} end
local meta_kind = kind_of(meta)
if meta_kind ~= 'none' and meta_kind ~= 'hash' then return {'in the way', meta} end
local known = redis.call('HMGET', meta, 'log_id', 'sequence')
local there = kind == 'stream' and redis.call('XLEN', stream) or 0
if there > 0 then
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1]
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1][1]
  local same = known[1] == log_id
  if not same or replace == '0' then return {'entries', there, first, newest, same and 1 or 0} end
  if is_after(newest, replace == '1' and last or replace) then return {'further', newest} end
  if redis.call('EXISTS', aside) == 1 then return {'in the way', aside} end
end
local counted = tonumber(known[2] or '0') or 0
if known[1] and known[1] ~= log_id and counted > 0 then return {'another log', known[1]} end
if known[1] == log_id and counted > tonumber(sequence) and #replace == 1 then return {'ahead', counted} end
if redis.call('XLEN', staged) ~= tonumber(sequence) then return {'not staged', redis.call('XLEN', staged)} end
if redis.call('XLEN', staged_commands) ~= tonumber(commands)
    or (redis.call('GET', place) or ''):match('^%S+') ~= token then -- it stood still, and what it staged expires
  return {'not staged', redis.call('XLEN', staged)}
end

-- Where only the stream was lost, its counters are there still, and further.
local counters = {}
for i = 10, #ARGV, 2 do
  local now = known[1] == log_id and tonumber(redis.call('HGET', meta, ARGV[i]) or '') or 0
  counters[#counters + 1] = ARGV[i]
  counters[#counters + 1] = string.format('%.0f', math.max(now, tonumber(ARGV[i + 1])))
end

if there > 0 then redis.call('RENAME', stream, aside) end
redis.call('DEL', stream, meta, subjects, named)
redis.call('PERSIST', staged) -- what a killed run staged goes by itself
redis.call('RENAME', staged, stream)
-- Entries behind the last one archived are lost, and their ids must not be given again. The clock sees to it, unless
-- ids are ahead of it; then they go on a second further. Refused where there is no id that far: fine too.
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local last_ms = tonumber(last:match('^%d+'))
if last_ms >= now_ms then redis.pcall('XSETID', stream, string.format('%.0f-0', last_ms + 1000)) end
redis.call('HSET', meta, 'log_id', log_id, 'sequence', sequence, 'last_position', last, 'floor', last,
  'trimmed', '0', 'trimmed_to', '0-0', 'adopted_to', adopted_to, unpack(counters))
redis.call('HSET', subjects, '', log_id)

local remembered = 0
if redis.call('EXISTS', staged_commands) == 1 then
  local from = '-'
  repeat
    local chunk = redis.call('XRANGE', staged_commands, from, '+', 'COUNT', 1000)
    for i, entry in ipairs(chunk) do
      local fields = entry[2]
      local left_ms = math.min(lifetime_ms, tonumber(entry[1]:match('^%d+')) + lifetime_ms - now_ms)
      if left_ms > 0 and entry[1] ~= from then
        redis.call('HSET', prefix .. fields[2], 'fingerprint', fields[4], 'sequence', fields[6],
          'position', entry[1], 'result', fields[8])
        redis.call('PEXPIRE', prefix .. fields[2], string.format('%.0f', left_ms))
        remembered = remembered + 1
      end
    end
    if #chunk > 0 then from = chunk[#chunk][1] end
  until #chunk < 1000
  redis.call('PERSIST', staged_commands)
  redis.call('RENAME', staged_commands, named)
end
return {'restored', remembered}
