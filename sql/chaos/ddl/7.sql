select rowcast.unwatch('chaos.item_1', 'aside:{id}')
