-- Tries commands in forms that change nothing, and answers what each was refused with, or '' for one that was not.
--
-- KEYS  all that they would touch    ARGV  per command: how many words it has, then the words

local answers, cursor = {}, 1
while cursor <= #ARGV do
  local words = tonumber(ARGV[cursor])
  local answer = redis.pcall(unpack(ARGV, cursor + 1, cursor + words))
  answers[#answers + 1] = type(answer) == 'table' and answer.err or ''
  cursor = cursor + words + 1
end
return answers
