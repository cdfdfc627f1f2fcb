select rowcast.revoke_api_key($1) as "gone!"
