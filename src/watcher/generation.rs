//! The threads that work under one configuration, and how those of the next one follow them.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, Scope};
use std::time::Duration;

use crossbeam_channel::bounded;
use tracing::error;

use super::{hand, lookout, take_over, under_way};
use crate::keeping::retention;
use crate::pipeline::Road;
use crate::stop::Stop;

/// How often one who waits for a predecessor looks whether the program ends.
const LOOK: Duration = Duration::from_millis(100);

/// What one thread of a generation does, known to the next one by the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Post {
    /// Takes a feed's runs down the road.
    Hand(String),
    /// Lists a source.
    Lookout(String),
    /// Deletes what was kept for long enough.
    Keeper,
}

/// Who is still at work.
#[derive(Default)]
struct Posts {
    manned: Mutex<HashSet<Post>>,
    left: Condvar,
}

impl Posts {
    fn manned(&self) -> std::sync::MutexGuard<'_, HashSet<Post>> {
        self.manned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until these posts were left. False when the program ends before.
    fn wait_for(&self, posts: &[Post], stop: &Stop) -> bool {
        let mut manned = self.manned();
        while posts.iter().any(|post| manned.contains(post)) {
            if stop.is_draining() {
                return false;
            }
            manned = self.left.wait_timeout(manned, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// A post that is left when this is dropped, however its thread ends.
struct Manned {
    posts: Arc<Posts>,
    post: Post,
}

impl Manned {
    fn new(posts: &Arc<Posts>, post: Post) -> Manned {
        posts.manned().insert(post.clone());
        Manned { posts: Arc::clone(posts), post }
    }
}

impl Drop for Manned {
    fn drop(&mut self) {
        self.posts.manned().remove(&self.post);
        self.posts.left.notify_all();
    }
}

/// All that works under one configuration.
pub(super) struct Generation {
    pub road: Arc<Road>,
    /// Ends its threads after what they have in hand.
    retired: Stop,
    posts: Arc<Posts>,
}

impl Generation {
    /// Starts a hand for each feed and a lookout for each source. Each begins when its predecessor has ended, and a hand besides when
    /// nobody works any more for an account of its platform that had other settings: two allowances must not add up.
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        road: Arc<Road>,
        earlier: Option<&Generation>,
        stop: &Stop,
    ) -> anyhow::Result<Generation> {
        let generation = Generation { road, retired: Stop::new(), posts: Arc::default() };
        let before = |posts: Vec<Post>| earlier.map(|earlier| (Arc::clone(&earlier.posts), posts));
        let mut wakers = BTreeMap::new();
        for feed in generation.road.config.feeds.values() {
            let (wake, woken) = bounded::<()>(1);
            wakers.insert(feed.name.clone(), wake);
            let before = before(earlier.map_or_else(Vec::new, |earlier| earlier.hands_in_the_way(&generation.road, &feed.name)));
            let manned = Manned::new(&generation.posts, Post::Hand(feed.name.clone()));
            let (road, feed, retired, stop) = (Arc::clone(&generation.road), Arc::clone(feed), generation.retired.clone(), stop.clone());
            Builder::new().name(format!("feed-{}", feed.name)).spawn_scoped(scope, move || {
                let _manned = manned;
                if let Some((posts, wanted)) = before {
                    if !posts.wait_for(&wanted, &stop) {
                        return;
                    }
                    inherit(&road, &feed.name);
                }
                hand(&road, &feed, &woken, &retired, &stop);
            })?;
        }
        for source in generation.road.config.sources.values() {
            let before = before(vec![Post::Lookout(source.name.clone())]);
            let manned = Manned::new(&generation.posts, Post::Lookout(source.name.clone()));
            let (road, source, retired, stop) =
                (Arc::clone(&generation.road), Arc::clone(source), generation.retired.clone(), stop.clone());
            let wakers = wakers.clone();
            Builder::new().name(format!("look-{}", source.name)).spawn_scoped(scope, move || {
                let _manned = manned;
                if before.is_some_and(|(posts, wanted)| !posts.wait_for(&wanted, &stop)) {
                    return;
                }
                lookout(&road, &source, &wakers, &retired, &stop);
            })?;
        }
        let keeper = before(vec![Post::Keeper]);
        let manned = Manned::new(&generation.posts, Post::Keeper);
        let (road, retired, wide) = (Arc::clone(&generation.road), generation.retired.clone(), stop.clone());
        Builder::new().name("keeper".into()).spawn_scoped(scope, move || {
            let _manned = manned;
            if keeper.is_none_or(|(posts, wanted)| posts.wait_for(&wanted, &wide)) {
                retention::keep(&road.config, &*road.ledger, road.fence, &road.spool, &retired);
            }
        })?;
        let gone = earlier.into_iter().flat_map(|earlier| earlier.road.config.feeds.keys());
        for name in gone.filter(|name| !generation.road.config.feeds.contains_key(*name)) {
            let name = name.clone();
            let before = before(vec![Post::Hand(name.clone())]);
            let (road, stop) = (Arc::clone(&generation.road), stop.clone());
            let manned = Manned::new(&generation.posts, Post::Hand(name.clone()));
            Builder::new().name(format!("feed-{name}")).spawn_scoped(scope, move || {
                let _manned = manned;
                if before.is_some_and(|(posts, wanted)| posts.wait_for(&wanted, &stop)) {
                    inherit(&road, &name);
                }
            })?;
        }
        Ok(generation)
    }

    /// The hands that must have ended before the one of `feed` in the next generation begins.
    fn hands_in_the_way(&self, next: &Road, feed: &str) -> Vec<Post> {
        let platform = next.config.feeds.get(feed).map(|feed| &feed.platform);
        let changed = platform.filter(|platform| self.road.config.platforms.get(&platform.name) != Some(platform));
        let same_account = |other: &str| {
            changed.is_some_and(|changed| self.road.config.feeds.get(other).is_some_and(|other| other.platform.name == changed.name))
        };
        let in_the_way = |post: &Post| matches!(post, Post::Hand(name) if name == feed || same_account(name));
        let manned: Vec<Post> = self.posts.manned().iter().cloned().collect();
        manned.into_iter().filter(in_the_way).collect()
    }

    /// Ends its threads after what they have in hand.
    pub fn retire(&self) {
        self.retired.drain();
    }

    /// What waits for a platform that is out goes over to the next generation.
    pub fn settle(&self) -> anyhow::Result<()> {
        if self.retired.is_draining() { self.road.release_waiting() } else { Ok(()) }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.retire();
    }
}

/// Takes over what the earlier generation left of a feed's runs.
fn inherit(road: &Road, feed: &str) {
    let taken = under_way(road, Some(feed)).and_then(|runs| runs.into_iter().try_for_each(|run| take_over(road, run)));
    match taken {
        Ok(()) => road.took_over(feed),
        Err(fault) => error!(feed, "runs of the earlier configuration cannot be taken over: {fault:#}"),
    }
}

/// Forgets generations whose threads have all ended.
pub(super) fn let_go(all: &mut Vec<Generation>) {
    all.retain(|generation| !generation.retired.is_draining() || !generation.posts.manned().is_empty());
}

/// There is always one that was not retired, and it is the last.
pub(super) fn newest(all: &[Generation]) -> &Generation {
    &all[all.len() - 1]
}
