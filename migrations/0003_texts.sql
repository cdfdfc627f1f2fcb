-- What the functions that follow share: templates, and SQL that owners hand in.
--
-- Errors that a caller of rowcast can cause have a SQLSTATE of class RC, one sentence, and a hint:
--   RC001 the table cannot be watched        RC006 another option is wrong
--   RC002 bad channel name or template       RC007 not allowed
--   RC003 unknown column                     RC008 busy: try again
--   RC004 bad "when"                         RC009 bad channel definition
--   RC005 bad keys                           RC010 bad message

create function rowcast.parse_template(template text, what text default 'channel template') returns text[]
  language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  rest   text := template;
  params text[] := '{}';
  param  text;
  after_param bool := false;
  hint constant text := 'Write text with column names in braces, such as orders:{id}.';
begin
  if template is null or template = '' or octet_length(template) > 255 then
    raise exception using errcode = 'RC002', message = format('a %s must be 1 to 255 bytes long', what), hint = hint;
  end if;
  if template ~ '[\u0001-\u001f\u007f-\u009f]' then
    raise exception using errcode = 'RC002',
      message = format('a %s must not contain control characters', what), hint = hint;
  end if;
  while rest <> '' loop
    if rest ~ '^[^{}]' then
      rest := regexp_replace(rest, '^[^{}]+', '');
      after_param := false;
      continue;
    end if;
    param := substring(rest from '^\{([^{}]+)\}');
    if param is null then
      raise exception using errcode = 'RC002', hint = hint,
        message = format('''{'' and ''}'' must come in pairs around a column name in the %s %s', what, template);
    end if;
    if after_param then
      raise exception using errcode = 'RC002', hint = hint,
        message = format('there must be text between two parameters of the %s %s', what, template);
    end if;
    if param = any (params) then
      raise exception using errcode = 'RC002', hint = hint,
        message = format('a parameter may occur once in a %s: %s', what, param);
    end if;
    params := params || param;
    rest := substr(rest, length(param) + 3);
    after_param := true;
  end loop;
  return params;
end $$;

comment on function rowcast.parse_template is
  'The parameters of a channel template in order, or an error that says what is wrong. The grammar is that of domain::Pattern.';

create function rowcast.template_shape(template text) returns text
  language sql immutable set search_path = pg_catalog, pg_temp as $$
  select regexp_replace(template, '\{[^{}]+\}', '{}', 'g')
$$;

comment on function rowcast.template_shape is 'Templates of one shape describe the same family of channels.';

create function rowcast.check_fragment(sql text, what text, code text) returns text
  language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  skeleton text;
  open text := '';
  c text;
begin
  if sql is null or btrim(sql, E' \t\r\n') = '' then
    raise exception using errcode = code, message = format('%s is empty', what), hint = 'Leave it out instead.';
  end if;
  if octet_length(sql) > 8192 then
    raise exception using errcode = code, message = format('%s is longer than 8192 bytes', what),
      hint = 'Put it into a function and call that.';
  end if;
  -- Plain strings and quoted names are skipped. Whatever else could make the server read quotes differently from
  -- this expression (comments, dollar quotes, backslash strings) begins in what is left, and is refused there.
  skeleton := regexp_replace(sql, '''(?:[^'']|'''')*''|"(?:[^"]|"")*"', chr(1), 'g');
  if skeleton ~ '--|/\*' then
    raise exception using errcode = code, message = format('%s must not contain comments', what),
      hint = 'Take out -- and /*; between two minus signs put a space.';
  elsif skeleton ~ ';' then
    raise exception using errcode = code, message = format('%s must be one piece of SQL without a semicolon', what),
      hint = 'Hand in one expression or one query.';
  elsif skeleton ~ '\$' then
    raise exception using errcode = code, message = format('%s must not contain dollar signs outside quotes', what),
      hint = 'Write strings in single quotes and odd names in double quotes.';
  elsif skeleton ~ '\\' or skeleton ~* '(^|[^[:alnum:]_])(e|u&)\u0001' then
    raise exception using errcode = code, message = format('%s must not contain E'''' or U&'''' strings', what),
      hint = 'Write plain strings in single quotes, or use chr().';
  elsif skeleton ~ '[''"]' then
    raise exception using errcode = code, message = format('%s has a quote that is not closed', what),
      hint = 'Double a quote to have one inside quotes.';
  end if;
  foreach c in array regexp_split_to_array(regexp_replace(skeleton, '[^][()]', '', 'g'), '') loop
    if c in ('(', '[') then
      open := open || c;
    elsif c in (')', ']') then
      if right(open, 1) is distinct from (case c when ')' then '(' else '[' end) then
        raise exception using errcode = code, message = format('%s closes a parenthesis that it did not open', what),
          hint = 'Count the parentheses.';
      end if;
      open := left(open, -1);
    end if;
  end loop;
  if open <> '' then
    raise exception using errcode = code, message = format('%s opens a parenthesis that it does not close', what),
      hint = 'Count the parentheses.';
  end if;
  return skeleton;
end $$;

comment on function rowcast.check_fragment is
  'Refuses SQL that could reach out of the parentheses it is put into. Returns it without the content of its quotes.';

create function rowcast.fill_fragment(sql text, columns json) returns text
  language sql immutable set search_path = pg_catalog, pg_temp as $$
  select string_agg(case when m[2] is null then m[1] else columns ->> m[2] end, '' order by n)
    from regexp_matches(sql, '(''(?:[^'']|'''')*''|"(?:[^"]|"")*"|\{([^{}]+)\}|[^''"{]+|\{)', 'g') with ordinality as t (m, n)
$$;

comment on function rowcast.fill_fragment is
  'Puts SQL in place of each {column} outside quotes; columns says which, as a JSON object.';

create function rowcast.placeholders(sql text) returns text[]
  language sql immutable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(distinct m[2]) filter (where m[2] is not null), '{}')
    from regexp_matches(sql, '(''(?:[^'']|'''')*''|"(?:[^"]|"")*"|\{([^{}]+)\}|[^''"{]+|\{)', 'g') as m
$$;

comment on function rowcast.placeholders is 'The columns that stand as {column} outside quotes.';

create function rowcast.settle(query text, path text, out sql text, out columns text[])
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
  as $$
begin
  -- A view that never comes to be: the server itself resolves the names and writes the query down with them.
  begin
    perform set_config('search_path', path, true);
    execute 'create view rowcast.trial as ' || query;
    perform set_config('search_path', 'pg_catalog', true);
    sql := replace(rtrim(pg_get_viewdef('rowcast.trial'::regclass), '; '),
      '(current_setting(''rowcast.rows''::text))::jsonb', '$1');
    select array_agg(attname::text order by attnum) into columns
      from pg_attribute where attrelid = 'rowcast.trial'::regclass and attnum > 0;
    raise exception using errcode = 'RC000';
  exception when sqlstate 'RC000' then null;
  end;
end $$;

comment on function rowcast.settle is
  'Compiles a query with the given search_path; returns it with every name qualified, and its columns. '
  'current_setting(''rowcast.rows'')::jsonb in it becomes $1.';

revoke all on all functions in schema rowcast from public;
