insert into submission (student_id, assignment_title) values ($1, $2) returning id
