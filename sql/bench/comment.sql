comment on database rowcast_bench is 'Made by `rowcast bench`, which drops it at its end. Left behind by one that was killed: drop it.'
