"""Settings of what watches the stream: drift against a reference window, and bursts of one story."""

from pydantic import Field

from config.section import Section


class DriftSettings(Section):
    """When a campaign's stream is no longer what it was.

    Attributes:
        enabled: whether streams are watched for drift.
        reference_posts: the reference window is the first so many posts after a version came in force.
        reference_hours: or the last so many hours, for feeds that change with the time of day; null keeps the
            first posts.
        block_posts: posts are looked at in blocks of at least so many.
        block_s: and of at least so many seconds. The reference has 20 blocks at least, so 0.2 makes it 4 s;
            10 makes it minutes on the fastest stream, and a change is then seen half a minute later.
        window_blocks: the present, in snapshots, is the last so many blocks.
        cooldown_s: the same drift is not reported again for so long.
        shares: bits from which label shares are reported as drifted; 0.02 is about what one label makes
            that goes from a quarter of the posts to two fifths.
        embedding: distance of mean embeddings from which texts are reported as drifted, 0 to 2.
        confidence: change of the mean probability of the best label that is reported.
        abstained: change of the share without a label that is reported.
        novelty: change of the mean distance to all that is known of the labels that is reported.
    """

    enabled: bool = True
    reference_posts: int = Field(2_500, ge=100)
    reference_hours: float | None = Field(None, gt=0)
    block_posts: int = Field(100, ge=10)
    block_s: float = Field(0.2, ge=0)
    window_blocks: int = Field(10, ge=2, le=32)
    cooldown_s: float = Field(3_600.0, ge=0)
    shares: float = Field(0.02, gt=0, le=1)
    embedding: float = Field(0.1, gt=0, le=2)
    confidence: float = Field(0.05, gt=0, le=1)
    abstained: float = Field(0.1, gt=0, le=1)
    novelty: float = Field(0.03, gt=0, le=2)


class BurstSettings(Section):
    """When one story is told so often that it is said to be one.

    Attributes:
        enabled: whether bursts are looked for; it costs some 4 µs a post.
        window_min: minutes of the posts' time that are looked at together.
        min_posts: of one story within the window, at least.
        min_share: and of all posts within the window, at least this share.
        growth: and at least so many times what the story had in the window before, measured by the stream.
    """

    enabled: bool = True
    window_min: float = Field(10.0, gt=0)
    min_posts: int = Field(15, ge=2)
    min_share: float = Field(0.002, ge=0, le=1)
    growth: float = Field(2.0, ge=1)
