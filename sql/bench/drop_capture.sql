-- The migrations made it, where the role may make roles; refused, and rightly, if another database has come to use it.
drop role if exists rowcast_capture
