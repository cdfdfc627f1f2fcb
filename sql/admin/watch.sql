select rowcast.watch($1::text::regclass, channel => $2, event => $3, columns => $4, "when" => $5, keys => $6,
                     operations => $7, bulk => $8, bell => $9)
