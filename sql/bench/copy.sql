copy load (id, n, customer, status, amount, note) from stdin
