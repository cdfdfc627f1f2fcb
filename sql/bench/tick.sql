update watched.tick set n = $2 where id = $1
