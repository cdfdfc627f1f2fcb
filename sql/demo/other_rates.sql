select to_regclass('public.rates') is not null or to_regclass(format('%I.rates', current_user)) is not null as "other!"
