//! Numbered places, used again: lists may hold a number where a pointer would need a count.

use std::ops::{Index, IndexMut};

/// `Vec::push`, but the first few take no more than they need: of the lists that every connection and every channel has, most
/// stay that short.
pub fn push_tight<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() && list.len() < TIGHT {
        list.reserve_exact(1);
    }
    list.push(item);
}

const TIGHT: usize = 4;

/// A list that grows page by page: nothing is moved, no room for twice as many is kept, and no hole is left behind where
/// it was before.
pub struct Pages<T>(Vec<Vec<T>>);

const PAGE: usize = 256;

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Pages<T> {
    pub fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * PAGE + last.len())
    }

    pub fn push(&mut self, item: T) {
        match self.0.last_mut() {
            Some(last) if last.len() < PAGE => last.push(item),
            _ => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(item);
                self.0.push(page);
            }
        }
    }

    /// Makes sure that there is an `n`th.
    pub fn reach(&mut self, n: usize, new: impl Fn() -> T) {
        while self.len() <= n {
            self.push(new());
        }
    }

    pub fn get(&self, n: usize) -> Option<&T> {
        self.0.get(n / PAGE)?.get(n % PAGE)
    }

    pub fn get_mut(&mut self, n: usize) -> Option<&mut T> {
        self.0.get_mut(n / PAGE)?.get_mut(n % PAGE)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flatten()
    }
}

impl<T> Index<usize> for Pages<T> {
    type Output = T;
    fn index(&self, n: usize) -> &T {
        &self.0[n / PAGE][n % PAGE]
    }
}

impl<T> IndexMut<usize> for Pages<T> {
    fn index_mut(&mut self, n: usize) -> &mut T {
        &mut self.0[n / PAGE][n % PAGE]
    }
}

pub struct Slab<T> {
    items: Pages<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { items: Pages::default(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub fn insert(&mut self, item: T) -> u32 {
        match self.free.pop() {
            Some(n) => {
                self.items[n as usize] = Some(item);
                n
            }
            None => {
                self.items.push(Some(item));
                self.items.len() as u32 - 1
            }
        }
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

impl<T> Index<u32> for Slab<T> {
    type Output = T;
    fn index(&self, n: u32) -> &T {
        self.items[n as usize].as_ref().expect("a number is given out only with its item, and forgotten with it")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, n: u32) -> &mut T {
        self.items[n as usize].as_mut().expect("a number is given out only with its item, and forgotten with it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_reach_over_pages_and_are_used_again() {
        let mut slab = Slab::default();
        let numbers: Vec<u32> = (0..3 * PAGE).map(|n| slab.insert(n)).collect();
        assert!(numbers.iter().all(|&n| slab[n] == n as usize) && slab.iter().count() == 3 * PAGE);
        slab.remove(PAGE as u32);
        slab.remove(PAGE as u32);
        assert_eq!(slab.get_mut(PAGE as u32), None);
        assert_eq!((slab.insert(7), slab.insert(8)), (PAGE as u32, 3 * PAGE as u32));
        assert_eq!(slab.get_mut(3 * PAGE as u32 + 1), None);
        let mut pages = Pages::default();
        pages.reach(2 * PAGE, || 1);
        assert_eq!((pages.len(), pages.get(2 * PAGE), pages.get(2 * PAGE + 1)), (2 * PAGE + 1, Some(&1), None));
    }
}
