update rowcast_fx.rates set rate = rate * 1.05 where source_currency = 'USD' and destination_currency = 'NGN';
