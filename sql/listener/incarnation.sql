-- The life of the stream as 16 hexadecimal digits; makes the token where crash recovery emptied it.
select rowcast.incarnation()
