-- The log lacks what was told while Redis was away: it goes, and who follows it is told to look.
-- ARGV: channel
redis.call('DEL', log, lease)
redis.call('PUBLISH', ARGV[1], 'gone')
return 1
