-- Runs commands that read, at one moment, and answers what each answered.
--
-- KEYS  all that they read    ARGV  per command: how many words it has, then the words
--
-- For a Redis over its maxmemory, which refuses to queue in a MULTI even what only reads.

local answers, cursor = {}, 1
while cursor <= #ARGV do
  local words = tonumber(ARGV[cursor])
  answers[#answers + 1] = redis.call(unpack(ARGV, cursor + 1, cursor + words))
  cursor = cursor + words + 1
end
return answers
