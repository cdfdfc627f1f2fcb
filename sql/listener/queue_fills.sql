-- Is the NOTIFY queue, one for all databases, at least half full?
select pg_notification_queue_usage() >= 0.5
