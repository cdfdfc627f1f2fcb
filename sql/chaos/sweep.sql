select chaos.sweep($1, $2)
