select chaos.touch($1, $2, $3)
