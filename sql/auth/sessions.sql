select session_key as "session_key!", session_data as "session_data!"
  from rowcast.django_sessions($1::text::regclass, $2)
