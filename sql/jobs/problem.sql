update rowcast.job set problem = $2 where id = $1 and problem is distinct from $2
