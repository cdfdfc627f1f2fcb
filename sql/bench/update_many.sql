update item set n = n + 1, status = 'paid', updated_at = now() where id between 1 and 1000
