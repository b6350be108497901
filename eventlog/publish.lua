-- Appends events to the log, all or nothing, in one round trip.
--
-- KEYS  1 stream  2 meta (hash)  3 subjects (hash)  4 command record (hash)
--       5 named commands (stream), only where the client named the command
-- ARGV  log id, decided at, fingerprint, record lifetime in ms, result,
--       counter of new ids, or '' and none of: first digits of provisional ones, how many, above which, below which,
--       number of guards, guards..., number of touches, touches..., then type, payload, metadata per event
--
-- Answers  {'published', sequence of the last event, result, position...}
--          {'replayed', sequence of the last event, last position, result}
--          {'reused'}  {'conflict', position, subject}  {'replaced', why}  {'rewound', why}  {'taken', up to which}
--          {'beyond the end', field of meta, what it says, what it should say}
--          without any event: {'writable'}  {'no id left', last id}
--
-- Scripts do not roll back: everything that can refuse comes before the first write. Payloads are
-- appended as they came; encoding JSON here would turn 10^14 into 1e+14.

local stream, meta, subjects, record = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local cursor = 0
local function next_argument()
  cursor = cursor + 1
  return ARGV[cursor]
end
local function next_list()
  local list = {}
  for i = 1, tonumber(next_argument()) do list[i] = next_argument() end
  return list
end

local log_id, decided_at, fingerprint = next_argument(), next_argument(), next_argument()
local record_lifetime_ms, result = next_argument(), next_argument()
local counter, provisional, new_ids, above, below = next_argument(), '', 0, 0, 0
if counter ~= '' then
  provisional, new_ids = next_argument(), tonumber(next_argument())
  above, below = tonumber(next_argument()), tonumber(next_argument())
end
local guards, touches = next_list(), next_list()

-- 1. Is this the log the caller decided on, as far as it had read?
local known = redis.call('HMGET', meta, 'log_id', 'sequence', 'last_position', 'floor', 'trimmed_to', counter)
local sequence, last_own, floor, trimmed_to = tonumber(known[2] or '0'), known[3] or '0-0', known[4] or '0-0', known[5] or '0-0'
if not known[1] then return {'replaced', 'there is no log'} end
if known[1] ~= log_id then return {'replaced', 'the log is ' .. known[1]} end

local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
if not newest and redis.call('EXISTS', stream) == 0 then return {'replaced', 'the stream is gone'} end
local log_end = newest and newest[1] or '0-0'
if is_after(decided_at, log_end) then return {'rewound', 'it ends at ' .. log_end} end
if decided_at ~= '0-0' and decided_at ~= log_end and not is_after(trimmed_to, decided_at)
    and #redis.call('XRANGE', stream, decided_at, decided_at) == 0 then
  return {'rewound', 'it has no entry ' .. decided_at}
end

-- 2. Was this command done before?
local before = redis.call('HMGET', record, 'fingerprint', 'sequence', 'position', 'result')
if before[1] then
  if before[1] ~= fingerprint then return {'reused'} end
  return {'replayed', tonumber(before[2]), before[3], before[4]}
end

-- 3. Entries behind our own last one are foreign: count them, and let them void older decisions.
if last_own ~= log_end and last_own ~= '0-0' and #redis.call('XRANGE', stream, last_own, last_own) == 0 then
  return {'rewound', 'its last own entry ' .. last_own .. ' is gone'}
end
if is_after(trimmed_to, log_end) then -- every guard would be taken for touched then, for ever
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  return {'beyond the end', 'trimmed_to', trimmed_to, first and first[1] or '0-0'}
end
if cursor == #ARGV then -- nothing to write: it was only asked whether something could be
  if is_after(floor, log_end) then return {'beyond the end', 'floor', floor, log_end} end
  local about = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' and about[i + 1] == '18446744073709551615-18446744073709551615' then
      return {'no id left', about[i + 1]}
    end
  end
  redis.call('HLEN', subjects) -- raises if the key is something else
  redis.call('SETRANGE', record, 0, '') -- writes nothing, and is refused where XADD would be: no memory, read-only
  return {'writable'}
end
if last_own ~= log_end then
  local from = last_own
  repeat
    local chunk = redis.call('XRANGE', stream, from, '+', 'COUNT', 1000)
    for _, entry in ipairs(chunk) do
      if is_after(entry[1], last_own) and entry[1] ~= from then
        sequence = sequence + 1
        floor = entry[1]
      end
    end
    if #chunk > 0 then from = chunk[#chunk][1] end
  until #chunk < 1000
end

-- 4. New ids are the next of their counter, and no other's; a count that is none begins above what is known.
local last_id = above
local function with_ids(text) return text end
if counter ~= '' then
  local counted = tonumber((known[6] or ''):match('^%d+$') or '0')
  if counted < 2 ^ 53 then last_id = math.max(counted, above) end
  if last_id + new_ids >= below then return {'taken', string.format('%.0f', math.max(last_id, below))} end
  local first_id = last_id + 1
  with_ids = function(text)
    local from, upto = text:find(provisional, 1, true) -- as plain text: gsub would try a pattern at every character
    if not from then return text end
    local nth = text:match('^%d%d%d%d%d%d', upto + 1)
    if not nth then return text:sub(1, upto) .. with_ids(text:sub(upto + 1)) end
    return text:sub(1, from - 1) .. string.format('%.0f', first_id + tonumber(nth)) .. with_ids(text:sub(upto + 7))
  end
end

-- 5. Did anything it stands on change since? Subjects that were deleted may have been touched at any time.
local remembers = redis.call('HGET', subjects, '') == log_id
if not remembers then floor = log_end end
if is_after(floor, decided_at) then return {'conflict', floor, 'the log, by an entry of another writer,'} end
for _, guard in ipairs(guards) do
  local subject = with_ids(guard)
  local touched = redis.call('HGET', subjects, subject) or trimmed_to -- what is older was forgotten
  if is_after(touched, decided_at) then return {'conflict', touched, subject} end
end

-- 6. Write. Only XADD can still fail, where no id is left; then what this call appended is taken back.
result = with_ids(result)
local answer = {'published', 0, result}
while cursor < #ARGV do
  local event_type, payload, metadata = next_argument(), next_argument(), next_argument()
  sequence = sequence + 1
  local added = redis.pcall('XADD', stream, '*', 'EventTypeName', event_type, 'Payload', with_ids(payload),
    'Sequence', string.format('%d', sequence), 'Metadata', metadata)
  if type(added) == 'table' then
    for i = 4, #answer do redis.call('XDEL', stream, answer[i]) end
    return added
  end
  answer[#answer + 1] = added
end
answer[2] = sequence
local last = answer[#answer]
local written = string.format('%d', sequence)
if counter ~= '' then
  redis.call('HSET', meta, 'sequence', written, 'last_position', last, 'floor', floor,
    counter, string.format('%.0f', last_id + new_ids))
else
  redis.call('HSET', meta, 'sequence', written, 'last_position', last, 'floor', floor)
end
if not remembers then redis.call('HSET', subjects, '', log_id) end
for _, subject in ipairs(touches) do redis.call('HSET', subjects, with_ids(subject), last) end
redis.call('HSET', record, 'fingerprint', fingerprint, 'sequence', written, 'position', last, 'result', result)
redis.call('PEXPIRE', record, record_lifetime_ms)

-- For the archive: the record once more, at its event's own position, and for as long. Nothing else reads it, so
-- what is in the way is dropped, and cannot refuse what is written already.
local named = KEYS[5]
if named then
  local oldest = math.max(0, tonumber(last:match('^%d+')) - tonumber(record_lifetime_ms))
  local function keep()
    return redis.pcall('XADD', named, 'MINID', '~', string.format('%.0f-0', oldest), last,
      'record', record:match('[^:]+$'), 'fingerprint', fingerprint, 'sequence', written, 'result', result)
  end
  if type(keep()) == 'table' then
    redis.call('PEXPIRE', named, 0) -- deletes it: DEL is for operators
    keep()
  end
end
return answer
