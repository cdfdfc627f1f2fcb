//! The hub as the router knows it.

use std::sync::Arc;

use super::Hub;
use super::lane::lock;
use crate::domain::{Batch, Boxed, ChannelName, Incarnation, Message, Outlet, Pattern, ReadError, Snapshot};

impl Outlet for Hub {
    fn begin(&self, incarnation: Incarnation, start: Arc<Snapshot>) {
        self.core().begin(incarnation, start);
    }

    fn restart(&self, family: &Pattern) {
        self.core().restart(family);
    }

    fn dispatch(&self, batch: Batch) {
        self.core().dispatch(batch);
    }

    fn publish(&self, message: Message) {
        self.core().publish(message);
    }

    fn channel_error(&self, channel: &ChannelName, error: &ReadError) {
        self.core().channel_error(channel, error);
    }

    fn settled(&self) -> Option<Arc<Snapshot>> {
        lock(&self.core().state).stream.as_ref().map(|(_, position)| position.prev.clone())
    }

    fn room(&self) -> Boxed<'_, ()> {
        let core = self.core();
        Box::pin(async move {
            loop {
                let room = core.room.notified();
                tokio::pin!(room);
                room.as_mut().enable();
                if !core.fifos.iter().any(|f| f.is_full()) {
                    return;
                }
                room.await;
            }
        })
    }

    fn has_audience(&self, channel: &ChannelName) -> bool {
        lock(&self.core().state).names.contains_key(channel)
    }

    fn audience_of(&self, family: &Pattern) -> Vec<ChannelName> {
        let state = lock(&self.core().state);
        state.names.keys().filter(|name| family.matches(name.as_str()).is_some()).cloned().collect()
    }
}
