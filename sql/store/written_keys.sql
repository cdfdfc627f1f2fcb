-- How the keys ($2, an array of arrays of parameters) of a family are written; null: no such key can be.
select rowcast.key_as_written($1, array(select jsonb_array_elements_text(k.v)))
  from jsonb_array_elements($2::jsonb) with ordinality as k (v, i)
 order by k.i
