select rowcast.watch('chaos.item_1', 'aside:{id}')
