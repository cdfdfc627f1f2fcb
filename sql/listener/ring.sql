-- Wakes the other listeners. $1 is empty, or 'instance' from one that has just come.
select pg_notify('rowcast', $1)
