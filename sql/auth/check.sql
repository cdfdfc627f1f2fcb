select i as "i!", allowed from rowcast.check_access($1, $2, $3)
