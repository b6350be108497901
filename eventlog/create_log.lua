-- Makes the log once: its random id, and the empty stream, so that a vanished stream can be told from a new one.
--
-- KEYS  1 stream  2 meta  3 subjects  4 readers  5 named commands
-- ARGV  new log id, '1' to make a new log of the entries that are there
-- Answers  {'created', log id}  {'exists', log id}  {'entries', how many}  {'damaged', log id}
--          {'wrong type', what it is}

local stream, meta = KEYS[1], KEYS[2]
local adopt = ARGV[2] == '1'
local kind = redis.call('TYPE', stream)
kind = kind.ok or kind
if kind ~= 'none' and kind ~= 'stream' then return {'wrong type', kind} end

local entries, newest = 0, '0-0'
if kind == 'stream' then
  entries = redis.call('XLEN', stream)
  if entries > 0 then newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1][1] end
end

-- Everything the log counted must be there: up to its own last entry, less what was trimmed on purpose.
local function is_whole(sequence, last_own, trimmed)
  if kind == 'none' or not sequence or not trimmed or not last_own:match('^%d+-%d+$') then return false end
  if last_own == '0-0' then return true end
  if #redis.call('XRANGE', stream, last_own, last_own) == 0 then return false end
  local foreign, from = -1, last_own
  repeat
    local chunk = redis.call('XRANGE', stream, from, '+', 'COUNT', 1000)
    foreign = foreign + #chunk - (from ~= last_own and 1 or 0)
    if #chunk > 0 then from = chunk[#chunk][1] end
  until #chunk < 1000
  return entries - foreign == sequence - trimmed
end

local meta_kind = redis.call('TYPE', meta)
if (meta_kind.ok or meta_kind) ~= 'hash' then
  if adopt then redis.call('DEL', meta) end -- whatever it is, it tells nothing of a log
end
if not adopt then
  local known = redis.call('HMGET', meta, 'log_id', 'sequence', 'last_position', 'trimmed')
  if known[1] then
    if is_whole(tonumber(known[2] or '0'), known[3] or '0-0', tonumber(known[4] or '0')) then
      return {'exists', known[1]}
    end
    return {'damaged', known[1]}
  end
  if entries > 0 then return {'entries', entries} end
end

if kind == 'none' then
  redis.call('XGROUP', 'CREATE', stream, 'created', '$', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', stream, 'created')
end
local readers_kind = redis.call('TYPE', KEYS[4])
if (readers_kind.ok or readers_kind) == 'hash' then
  for _, name in ipairs(redis.call('HKEYS', KEYS[4])) do redis.call('XGROUP', 'DESTROY', stream, name) end
end
redis.call('DEL', KEYS[4]) -- whoever read the former log has read nothing of this one
redis.call('DEL', KEYS[3], KEYS[5]) -- what an earlier log touched and did means nothing here
redis.call('HSET', KEYS[3], '', ARGV[1]) -- so that publishing notices when it is deleted
redis.call('HSET', meta, 'log_id', ARGV[1], 'sequence', string.format('%d', entries), 'last_position', newest,
  'floor', newest, 'trimmed', '0', 'trimmed_to', '0-0', 'adopted_to', newest)
return {'created', ARGV[1]}
