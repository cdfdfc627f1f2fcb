-- Rings a bell that nobody else listens to.
select pg_notify('rowcast_check', '')
