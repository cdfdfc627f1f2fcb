truncate load
