update asset_price set price = price * 1.05 where symbol = 'AAPL';
