-- Made as the job's role: inside a SECURITY DEFINER function the job's SQL cannot `reset role` and become the server, nor
-- commit. What would run at the commit, outside of it (deferred triggers, held cursors), is run or closed before it ends.
create function pg_temp.rowcast_job(sql text, path text) returns void
  language plpgsql security definer as $$
begin
  perform pg_catalog.set_config('search_path', path, true);
  execute sql;
  set constraints all immediate;
  execute 'close all'; -- plpgsql's own close takes one cursor
end $$
