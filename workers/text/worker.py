"""The text worker: posts in, labels out. Tokenises in one thread while another infers.

It has any number of campaigns. A post is embedded once, and labelled by each campaign that it is for; what is
in force is swapped between two batches.
"""

from collections.abc import Collection, Mapping, Sequence
from threading import Lock
from typing import Any, Final

import numpy as np

from config import DriftSettings, TextSettings
from schemas import LabelSet, Post, Review, TextResult
from workers.base import Applied, Change
from workers.errors import FatalError, PipelineError
from workers.text.campaign import Campaign
from workers.text.control import read_change
from workers.text.duplicates import CAPACITY, fingerprints
from workers.text.encoders import Encoders, PreparedPost, TextBatch
from workers.text.filters import places_for
from workers.text.fitting import fit_campaign
from workers.text.label_set import ARCHIVE_MARK, LabelSetError, load_label_set
from workers.text.lane import phrases_of

_CHARS_PER_TOKEN: Final = 4
"""Characters a token, about, in English word pieces; only for estimating work."""

_MAX_COST: Final = 2_048
"""Tokens a post is estimated at, at most."""

Outcome = TextResult | tuple[TextResult, ...] | PipelineError
"""What becomes of a post: a result; or one for each campaign that it is for, which may be none."""


class TextWorker:
    """Labels posts; see workers.base.Worker and workers.base.Controllable.

    Args:
        settings: the text section.
        label_set: what to label with from the start; None waits for label sets to be applied.
        examples: (text, label name) pairs beside those in the label set; None: none of the labels.
        unlabelled: texts of the stream to adapt to.
        threshold_sample: texts of the stream that a threshold is chosen on without adapting to them, where
            `unlabelled` is empty.
        taken: topics that no label set may be routed to.
        live: whether posts are picked for review, by the label set's shares or the usual ones.
    """

    def __init__(
        self,
        settings: TextSettings,
        label_set: LabelSet | None,
        examples: Sequence[tuple[str, str | None]] = (),
        unlabelled: Sequence[str] = (),
        threshold_sample: Sequence[str] = (),
        taken: Collection[str] = (),
        *,
        live: bool = False,
    ) -> None:
        self._live = live
        self._taken = frozenset(taken)
        self._settings = settings
        self._start = label_set
        self._beside = (examples, unlabelled, threshold_sample)
        source = settings.sentence_model if settings.model in ("static", "cascade") else settings.model
        self._encoders = Encoders(source, threads=settings.threads, provider=settings.provider)
        self._campaigns: tuple[Campaign, ...] = ()
        """In force, by name. Replaced whole; a batch reads it once."""
        self._routes: dict[str, str] = {}
        self._ready = False
        self._changing = Lock()
        self._drift: DriftSettings | None = None

    @property
    def model(self) -> str:
        """The lanes' names."""
        return ", ".join(dict.fromkeys(campaign.model for campaign in self._campaigns)) or self._encoders.name

    @property
    def version(self) -> str:
        """The one label set's version, with a hash of the examples and the sample that were added to it."""
        campaigns = self._campaigns
        return campaigns[0].version if len(campaigns) == 1 else f"{len(campaigns)} label sets"

    @property
    def campaigns(self) -> tuple[Campaign, ...]:
        """In force, by name."""
        return self._campaigns if self._ready else ()

    @property
    def ready(self) -> bool:
        """Whether there is a label set."""
        return self._ready

    @property
    def in_force(self) -> Mapping[str, str]:
        """Versions by label set."""
        return {campaign.name: campaign.version for campaign in self.campaigns}

    @property
    def routes(self) -> Mapping[str, str]:
        """Further topics by label set."""
        return self._routes

    def load(self) -> None:
        """Load the model, and fit to the label set to start with.

        Raises:
            FatalError: reason model_load or configuration.
        """
        self._encoders.load()
        if self._start is not None:
            self._put(self._fit(self._start, *self._beside))
            self.run(self.prepare([Post(id="warm", text="warm up")]))
            self._campaigns[0].forget()

    def cost(self, message: Post) -> int:
        """Estimated tokens."""
        return min(2 + len(message.text) // _CHARS_PER_TOKEN, _MAX_COST)

    def prepare(self, batch: Sequence[Post]) -> Sequence[PreparedPost | PipelineError]:
        """Tokenise for the lanes in use."""
        said = fingerprints([post.text for post in batch])
        return self._encoders.prepare(batch, said, {campaign.kind for campaign in self._campaigns})

    def run(self, prepared: Sequence[PreparedPost | PipelineError]) -> Sequence[Outcome]:
        """Label; the campaigns in force when it begins are those of the whole batch."""
        campaigns = self._campaigns
        posts = [item for item in prepared if isinstance(item, PreparedPost)]
        places = places_for([campaign.filter for campaign in campaigns], [post.post for post in posts])
        by_campaign = self._label(campaigns, posts, places)
        if len(campaigns) == 1 and places[0] is None:
            answered = iter(by_campaign[0])
            return [next(answered) if isinstance(item, PreparedPost) else item for item in prepared]
        found: list[list[TextResult]] = [[] for _ in posts]
        for own, results in zip(places, by_campaign, strict=True):
            for place, result in zip(range(len(posts)) if own is None else own, results, strict=True):
                found[place].append(result)
        many = iter(found)
        return [tuple(next(many)) if isinstance(item, PreparedPost) else item for item in prepared]

    def _label(
        self,
        campaigns: Sequence[Campaign],
        posts: Sequence[PreparedPost],
        places: Sequence[Sequence[int] | None],
    ) -> list[list[TextResult]]:
        """The results of each campaign for the posts that it is for, in order."""
        rows: dict[int, int] = {}
        distinct: list[PreparedPost] = []
        for post in posts:
            if post.said not in rows:
                rows[post.said] = len(distinct)
                distinct.append(post)
        batch = TextBatch(
            self._encoders,
            [post.post.text for post in distinct],
            [post.pieces for post in distinct],
            [post.words for post in distinct],
        )
        looked_up = [
            campaign.look_up(posts if own is None else [posts[place] for place in own], rows)
            for campaign, own in zip(campaigns, places, strict=True)
        ]
        wanted = [
            own.rows
            for campaign, own in zip(campaigns, looked_up, strict=True)
            if campaign.kind == "sentence"
        ]
        if wanted:  # together, so that the model sees one large batch and not one a campaign
            batch.embed(np.unique(np.concatenate(wanted)))
        return [campaign.answer(own, batch) for campaign, own in zip(campaigns, looked_up, strict=True)]

    # Changes

    def apply_changes(self, changes: Sequence[Change]) -> list[Applied]:
        """Fit to label sets and swap them in, or take them out; see workers.base.Controllable."""
        changes = [change for change in changes if ARCHIVE_MARK not in change.key]
        read = [self._read(change) for change in changes]
        self._embed_ahead([one for one in read if isinstance(one, LabelSet)])
        return [self._apply(change, one) for change, one in zip(changes, read, strict=True)]

    def _read(self, change: Change) -> LabelSet | FatalError | None:
        """What a change says: a label set, None to remove one, or why it can't be used."""
        try:
            return None if change.value is None else read_change(change, self._taken)
        except FatalError as error:
            return error

    def _apply(self, change: Change, read: LabelSet | FatalError | None) -> Applied:
        if read is None:
            self._remove(change.key)
            return Applied(change.key, None, removed=True, published_ms=change.timestamp_ms)
        version = str(read.version) if isinstance(read, LabelSet) else None
        try:
            if isinstance(read, FatalError):
                raise read
            self._take_over(read)
        except FatalError as error:
            return Applied(change.key, version, refused=error.detail, published_ms=change.timestamp_ms)
        except Exception as error:  # whatever a label set does to a head, the others go on
            detail = f"it can't be fitted: {type(error).__name__}: {error}"
            return Applied(change.key, version, refused=detail[:500], published_ms=change.timestamp_ms)
        return Applied(change.key, version, published_ms=change.timestamp_ms)

    def _take_over(self, label_set: LabelSet) -> None:
        """Put a label set in force, unless it is."""
        former = self._named(label_set.name)
        if former is not None and former.label_set == label_set:
            return
        if former is not None and former.version == str(label_set.version):
            raise LabelSetError(
                f"version {former.version} of {label_set.name} is another label set already; "
                "give this one a version of its own"
            )
        self._put(self._fit(label_set, capacity=CAPACITY // (len(self._campaigns) + 1)))

    def _named(self, name: str) -> Campaign | None:
        return next((campaign for campaign in self.campaigns if campaign.name == name), None)

    def _fit(self, label_set: LabelSet, *beside: Any, capacity: int = CAPACITY) -> Campaign:
        review = (label_set.review or Review()) if self._live else None
        return fit_campaign(
            self._settings, self._encoders, label_set, *beside, review=review, capacity=capacity
        )

    def _embed_ahead(self, label_sets: Sequence[LabelSet]) -> None:
        """Embed what many label sets say in one batch; each then finds it done."""
        if len(label_sets) > 1:
            texts = [text for label_set in label_sets for text in phrases_of(label_set)]
            self._encoders.known(list(dict.fromkeys(texts)))

    def watch_drift(self, settings: DriftSettings) -> None:
        """Look for drift in each campaign, from its version's first post on."""
        with self._changing:
            self._drift = settings
            for campaign in self._campaigns:
                campaign.watch_drift(settings)

    def _put(self, campaign: Campaign) -> None:
        with self._changing:
            if self._drift is not None:
                campaign.watch_drift(self._drift)
            former = self._named(campaign.name)
            if former is not None:
                campaign.follow(former)
            kept = [other for other in self.campaigns if other is not former]
            self._campaigns = tuple(sorted([*kept, campaign], key=lambda c: c.name))
            self._routes = {c.name: c.label_set.route for c in self._campaigns if c.label_set.route}
            self._ready = True

    def _remove(self, name: str) -> None:
        with self._changing:
            kept = tuple(campaign for campaign in self.campaigns if campaign.name != name)
            self._ready = bool(kept)
            # The last one goes on until the lane has let go of its posts: none may end without an answer.
            self._campaigns = kept or self._campaigns


def create_text_worker(
    settings: TextSettings,
    examples: Sequence[tuple[str, str | None]] = (),
    unlabelled: Sequence[str] = (),
    threshold_sample: Sequence[str] = (),
    *,
    live: bool = False,
    taken: Collection[str] = (),
) -> TextWorker:
    """The text worker that settings ask for; not loaded yet.

    Args:
        settings: the text section.
        examples: a TextWorker's.
        unlabelled: a TextWorker's.
        threshold_sample: a TextWorker's.
        live: for a stream: a label set's filters count, and without a file the worker waits for label sets to
            be applied. Otherwise each post gets a result.
        taken: a TextWorker's.

    Raises:
        FatalError: reason configuration: no label set is named, or it can't be used.
    """
    if settings.labels is None:
        if live:
            return TextWorker(settings, None, taken=taken, live=True)
        raise FatalError("no label set: name a file with --labels or text.labels", reason="configuration")
    label_set = load_label_set(settings.labels, taken)
    if label_set.model is not None and "model" not in settings.model_fields_set:
        settings = settings.model_copy(update={"model": label_set.model})
    if not live:
        label_set = label_set.model_copy(update={"filters": None})
    return TextWorker(settings, label_set, examples, unlabelled, threshold_sample, taken, live=live)
