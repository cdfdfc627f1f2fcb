select i as "i!", allowed as "allowed!" from rowcast.check_access($1)
