update item set n = n + 1, status = 'paid', updated_at = now() where id = $1
