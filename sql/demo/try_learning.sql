insert into submission (student_id, assignment_title) values (1, 'By hand');
