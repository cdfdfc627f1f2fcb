delete from rowcast.job where name = $1 and sql is null
