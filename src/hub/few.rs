//! A list that most often has one item, which then needs no memory of its own, and no second look at cold memory.

use std::ops::{Deref, DerefMut};

#[derive(Clone, Default)]
pub enum Few<T> {
    #[default]
    None,
    One(T),
    /// Where there are many, a step more costs nothing; where there are few, their size counts.
    Many(Box<Vec<T>>),
}

impl<T> Few<T> {
    pub fn push(&mut self, item: T) {
        *self = match std::mem::take(self) {
            Few::None => Few::One(item),
            Few::One(first) => Few::Many(Box::new(vec![first, item])),
            Few::Many(mut many) => {
                many.push(item);
                Few::Many(many)
            }
        };
    }

    /// As `Vec`'s: the last takes the place of the one that goes.
    pub fn swap_remove(&mut self, at: usize) -> T {
        match std::mem::take(self) {
            Few::Many(mut many) => {
                let gone = many.swap_remove(at);
                *self = match many.len() {
                    1 => many.pop().map_or(Few::None, Few::One),
                    _ => Few::Many(many),
                };
                gone
            }
            Few::One(only) if at == 0 => only,
            _ => panic!("nothing stands at {at}"),
        }
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match self {
            Few::None => &[],
            Few::One(only) => std::slice::from_ref(only),
            Few::Many(many) => many,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Few::None => &mut [],
            Few::One(only) => std::slice::from_mut(only),
            Few::Many(many) => many,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_like_any_other() {
        let (mut few, mut list) = (Few::default(), Vec::new());
        // Up to four and down again, from both ends.
        for (n, remove) in [(1, None), (2, None), (3, Some(0)), (4, None), (5, None), (6, Some(1)), (7, Some(3))] {
            few.push(n);
            list.push(n);
            if let Some(at) = remove {
                assert_eq!(few.swap_remove(at), list.swap_remove(at));
            }
            assert_eq!(*few, *list);
        }
        while !list.is_empty() {
            few[0] += 10;
            list[0] += 10;
            assert_eq!(few.swap_remove(0), list.swap_remove(0));
            assert_eq!(*few, *list);
        }
        assert!(matches!(few, Few::None));
    }

    #[test]
    fn one_takes_no_more_than_it_must() {
        assert_eq!(size_of::<Few<u64>>(), 16);
    }
}
