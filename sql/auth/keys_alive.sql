select id as "id!" from rowcast.api_key where id = any ($1) and (expires_at is null or expires_at > now())
