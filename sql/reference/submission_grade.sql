-- By $2. What is null stays; status and time follow by trigger.
update submission s
   set grade = coalesce($3::text::numeric, s.grade), feedback = coalesce($4, s.feedback), graded_by_id = $2
 where s.id = $1
returning s.id
