drop database if exists rowcast_bench with (force)
