-- Forgets a reader and its consumer group; a group that is no reader's is left alone.
--
-- KEYS  1 stream  2 readers (hash)    ARGV  name    Answers whether it was known, 1 or 0

if redis.call('HDEL', KEYS[2], ARGV[1]) == 0 then return 0 end
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1]) end
return 1
