select rowcast.opened($1) as "opened!"
