//! The definitions of a feed that one image is checked with.

use crate::content::{NO_SYSTEM, NOT_LOADED, VULNERABILITIES_SECS, name, package_kinds, without};
use crate::feed::Feeds;
use crate::packed::{Packed, pack};
use crate::settings::Feed;
use scap::feed::{Answers, FeedError, Index, Selection};
use scap::protocol::{Chosen, Request, Source};
use scap::report::{Definitions, Layer, OperatingSystem, Package};
use std::sync::Arc;

/// What is asked of the pod for the layer, and the content that has to be put there before.
pub(crate) type Wanted = (Request, Option<Packed>);

/// What there is to choose from, for one image.
pub(crate) struct Choice<'a> {
    os: &'a OperatingSystem,
    feed: &'a Feed,
    index: Arc<Index>,
    packages: Arc<[Package]>,
}

/// The feed for a system, indexed; else the layer that says why there is none.
pub(crate) async fn find<'a>(feeds: &'a Feeds, os: Option<&'a OperatingSystem>) -> Result<(&'a OperatingSystem, &'a Feed, Arc<Index>), Box<Request>> {
    let none = |reason: String| Box::new(without(Layer::Vulnerabilities, reason));
    let os = os.ok_or_else(|| none(NO_SYSTEM.into()))?;
    let feed = feeds
        .find(os)
        .ok_or_else(|| none(format!("No vulnerability definitions are configured for {}: add a feed (content.vulnerability_feeds).", name(os))))?;
    let index = feeds.index(feed).await.map_err(|error| none(format!("{NOT_LOADED}{error:#}")))?;
    Ok((os, feed, index))
}

impl<'a> Choice<'a> {
    pub(crate) fn new((os, feed, index): (&'a OperatingSystem, &'a Feed, Arc<Index>), packages: Vec<Package>) -> Self {
        Self { os, feed, index, packages: packages.into() }
    }

    /// What the pod must answer first, or nothing.
    ///
    /// # Errors
    /// Compressing it.
    pub(crate) async fn questions(&self) -> anyhow::Result<Option<Packed>> {
        let (index, packages) = (self.index.clone(), self.packages.clone());
        let packed = tokio::task::spawn_blocking(move || {
            // Without packages nothing is evaluated.
            let questions = index.questions(&packages).filter(|_| !packages.is_empty());
            questions.map(|questions| pack(&questions.document)).transpose()
        });
        Ok(packed.await??)
    }

    /// The layer for these packages, and the names of the feed when the image has none of them: whether it fits any image must be seen.
    ///
    /// # Errors
    /// Compressing the content.
    pub(crate) async fn wanted(&self, answers: Answers) -> anyhow::Result<(Wanted, Vec<String>)> {
        let (index, packages) = (self.index.clone(), self.packages.clone());
        let made = tokio::task::spawn_blocking(move || {
            let selection = match index.select(&packages, &answers) {
                Ok(selection) => selection,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let fits = selection.matched_names > 0 || selection.definitions > 0 || packages.is_empty();
            let names = if fits { vec![] } else { index.names().map(str::to_owned).collect() };
            let packed = (selection.definitions > 0).then(|| pack(&selection.document)).transpose()?;
            let chosen = Chosen { definitions: count(&index, &selection), undecided_reason: selection.undecided_reason };
            anyhow::Ok(Ok((chosen, packed, names)))
        });
        Ok(match made.await?? {
            Ok((chosen, packed, names)) => ((self.request(chosen, packed.as_ref()), packed), names),
            Err(FeedError::OtherSystem(what)) => {
                let none = self.none(format!("The definitions are made for another system: {what}."));
                // A database that cannot be read lists no packages either: the pod, which knows, says so instead.
                ((Request { needs_packages: package_kinds(self.os), ..none }, None), vec![])
            }
            Err(refusal) => ((self.none(format!("{NOT_LOADED}{refusal}")), None), vec![]),
        })
    }

    /// The layer of a feed that names nothing which is installed in any known image of the system.
    pub(crate) fn unfit(&self) -> Request {
        let Feed { id, version, .. } = self.feed;
        self.none(format!(
            "None of the {} definitions for {id} {version} names a package that is installed in this image, or in any other image of {} that was analysed: \
             check that the feed is the right one.",
            self.index.definitions(),
            name(self.os)
        ))
    }

    fn none(&self, reason: String) -> Request {
        without(Layer::Vulnerabilities, reason)
    }

    fn request(&self, chosen: Chosen, packed: Option<&Packed>) -> Request {
        Request {
            layer: Layer::Vulnerabilities,
            source: packed.map(|packed| Source::Oval { sha256: packed.sha256.clone() }),
            reason: String::new(),
            profile: String::new(),
            title: format!("Vulnerability definitions of {} {}", self.feed.id, self.feed.version),
            needs_packages: package_kinds(self.os),
            limit_secs: VULNERABILITIES_SECS,
            chosen: Some(chosen),
        }
    }
}

fn count(index: &Index, selection: &Selection) -> Definitions {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Definitions {
        in_feed: number(index.definitions()),
        evaluated: number(selection.definitions),
        undecided: number(selection.undecided),
        ..Definitions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::tests::DEFINITIONS;
    use crate::report::tests::report;
    use crate::settings::ContentSettings;
    use scap::report::PackageKind;

    fn debian() -> OperatingSystem {
        OperatingSystem { id: "debian".into(), version_id: "12".into(), ..OperatingSystem::default() }
    }

    fn feeds(location: &str) -> Feeds {
        let feed = Feed { id: "debian".into(), version: "12".into(), location: location.into(), sha256: None };
        Feeds::new(ContentSettings { vulnerability_feeds: vec![feed], ..ContentSettings::default() })
    }

    async fn wanted(definitions: &str, packages: Vec<Package>) -> (Wanted, Vec<String>) {
        let (os, feed) = (debian(), feeds("").find(&debian()).unwrap().clone());
        let index = Arc::new(Index::build(definitions.as_bytes()).unwrap());
        Choice::new((&os, &feed, index), packages).wanted(Answers::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_layer_without_definitions_says_why() {
        let reason = |os: Option<OperatingSystem>| async move {
            let feeds = feeds("/nonexistent/oval.xml");
            find(&feeds, os.as_ref()).await.err().unwrap().reason
        };
        assert_eq!(reason(None).await, NO_SYSTEM);
        let other = OperatingSystem { id: "plan9".into(), ..OperatingSystem::default() };
        assert!(reason(Some(other)).await.starts_with("No vulnerability definitions are configured for plan9"));
        assert!(reason(Some(debian())).await.starts_with(NOT_LOADED));
    }

    #[tokio::test]
    async fn only_definitions_that_concern_the_packages_go_into_the_pod_and_all_are_counted() {
        let packages = report(7).packages;
        let ((request, file), names) = wanted(DEFINITIONS, packages.clone()).await;
        let counts = request.chosen.unwrap().definitions;
        assert_eq!((counts.in_feed, counts.evaluated, counts.left_out(), names.len()), (1, 1, 0, 0));
        assert_eq!(request.source, file.map(|file| Source::Oval { sha256: file.sha256 }));

        let ((request, file), names) = wanted(&DEFINITIONS.replace("bash", "absent"), packages).await;
        let counts = request.chosen.unwrap().definitions;
        assert_eq!((counts.in_feed, counts.evaluated, counts.left_out()), (1, 0, 1));
        assert!(request.source.is_none() && file.is_none() && request.needs_packages == [scap::report::PackageKind::Deb]);
        assert_eq!(names, ["absent"], "whether the feed fits any image must be seen");
        let (_, names) = wanted(&DEFINITIONS.replace("bash", "absent"), vec![]).await;
        assert!(names.is_empty(), "an image whose packages are not known says nothing about the feed");
    }

    #[tokio::test]
    async fn a_feed_for_packages_of_another_kind_is_not_taken_for_a_clean_result() {
        let rpm = DEFINITIONS.replace("dpkginfo", "rpminfo");
        let ((request, file), _) = wanted(&rpm, report(7).packages).await;
        assert!(request.source.is_none() && file.is_none() && request.chosen.is_none());
        assert!(request.reason.contains("made for another system"), "{}", request.reason);
        assert_eq!(request.needs_packages, [PackageKind::Deb], "the pod looks at the database first");
    }
}
