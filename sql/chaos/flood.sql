update chaos.flood set n = n + 1, body = repeat('z', 30000)
