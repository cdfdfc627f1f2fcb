-- Are there rates that other providers quoted?
select exists (select from rowcast_fx.rates where not sources <@ '{simulated}') as "real!"
