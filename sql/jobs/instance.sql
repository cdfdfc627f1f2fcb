select concat_ws('/', coalesce(host(inet_client_addr()), 'local'), pg_backend_pid()) as "instance!"
