-- The templates of all families of channels, but of our own.
select r.template as "template!" from rowcast.route r where r.until is null and r.template !~ '^rowcast\.'
union
select c.pattern from rowcast.channel c
order by 1
