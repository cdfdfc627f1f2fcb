-- The submissions of $1 ($2: everybody's), filtered by $4 to $6, $11 of them after the place ($9, $10) in the order of $7, $8. Or the
-- one with number $3, and whether $1 may see it.
select pg_current_snapshot()::text as "snapshot!", p.allowed as "allowed?", p.key as "key?", p.id as "id?", p.item as "item?"
  from (values (1)) one
  left join (
    select s.allowed, s.key, s.id, row_to_json(x)::text as item
      from (
        select s.*, k.key, coalesce($2::bool or s.student_id = $1::bigint, false) as allowed
          from submission s
          cross join lateral (
            select case $7::text when 'updated_at' then (extract(epoch from s.updated_at) * 1000000)::bigint
                                 when 'score' then coalesce((s.grade * 100)::bigint, -1)
                                 else s.id end as key) k
         where ($3::bigint is null or s.id = $3)
           and ($3::bigint is not null or $2::bool or s.student_id = $1::bigint)
           and ($4::bigint is null or s.student_id = $4)
           and ($5::text is null or s.status = $5)
           and ($6::bool is null or (s.grade is not null) = $6)
           and case when $9::bigint is null then true
                    when $8::bool then (k.key, s.id) < ($9, $10::bigint)
                    else (k.key, s.id) > ($9, $10) end
         order by case when $8 then k.key end desc, case when $8 then s.id end desc,
                  case when not $8 then k.key end, case when not $8 then s.id end
         limit $11) s
      left join rowcast_reference.person u on u.id = s.student_id
      left join rowcast_reference.person g on g.id = s.graded_by_id
      cross join lateral (
        select s.id, s.student_id, u.name as student_name, s.assignment_title, s.status, trim_scale(s.grade) as score, s.feedback,
               s.graded_by_id, g.name as graded_by, rowcast_reference.iso(s.submitted_at) as submitted_at,
               rowcast_reference.iso(s.graded_at) as graded_at, rowcast_reference.iso(s.updated_at) as updated_at) x
  ) p on true
