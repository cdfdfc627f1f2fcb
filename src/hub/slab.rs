//! Numbered places, used again: lists may hold a number where a pointer would need a count.

/// `Vec::push`, but the first few take no more than they need: of the lists that every connection and every channel has, most
/// stay that short.
pub fn push_tight<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() && list.len() < TIGHT {
        list.reserve_exact(1);
    }
    list.push(item);
}

const TIGHT: usize = 4;

pub struct Slab<T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { items: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub fn insert(&mut self, item: T) -> u32 {
        let n = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            self.items.len() as u32 - 1
        });
        self.items[n as usize] = Some(item);
        n
    }

    pub fn remove(&mut self, n: u32) {
        if self.items[n as usize].take().is_some() {
            self.free.push(n);
        }
    }

    pub fn get_mut(&mut self, n: u32) -> Option<&mut T> {
        self.items.get_mut(n as usize)?.as_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter().flatten()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.items.iter_mut().flatten()
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;
    fn index(&self, n: u32) -> &T {
        self.items[n as usize].as_ref().expect("a number is given out only with its item, and forgotten with it")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, n: u32) -> &mut T {
        self.items[n as usize].as_mut().expect("a number is given out only with its item, and forgotten with it")
    }
}
