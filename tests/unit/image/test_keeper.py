"""What is done once changes cease, and how long it is put off."""

import threading
from collections.abc import Callable

import pytest

from tests.unit.image.fakes import BrightnessMode
from workers.image import keeper as module
from workers.image.keeper import Keeper
from workers.image.live_gallery import LiveGallery


class Learns(BrightnessMode):
    pending = "learning"  # type: ignore[assignment]
    crowded = False  # type: ignore[assignment]


class Told(LiveGallery):
    """A gallery that notes when it learnt."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        from config import ImageSettings

        super().__init__("g", Learns(ImageSettings()), "s")
        self.learnt = threading.Event()
        self._then = then
        self.open()

    def learn(self) -> None:
        self.learnt.set()
        self._then()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEARN_AFTER_S", "WRITE_AFTER_S"):
        monkeypatch.setattr(module, name, 0.0)


def test_a_change_is_learnt_from_without_anybody_asking():
    gallery = Told()
    keeper = Keeper(lambda: [gallery], None)
    keeper.changed()
    assert gallery.learnt.wait(10)
    keeper.close()


def test_learning_that_fails_is_said_and_the_next_change_tries_again(caplog: pytest.LogCaptureFixture):
    def fail() -> None:
        raise RuntimeError("no memory")

    gallery = Told(fail)
    keeper = Keeper(lambda: [gallery], None)
    keeper.changed()
    assert gallery.learnt.wait(10)
    gallery.learnt.clear()
    gallery._then = lambda: None
    while not gallery.learnt.is_set():  # the first failure may not have been dealt with yet
        keeper.changed()
        gallery.learnt.wait(0.01)
    assert "no memory" in caplog.text
    keeper.close()


def test_changes_put_learning_off_but_not_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LEARN_AFTER_S", 1.0)
    now = [0.0]
    keeper = Keeper(list, None, clock=lambda: now[0])
    keeper._thread = threading.current_thread()  # none is started
    waits: list[float] = []

    def tick(timeout: float) -> bool:
        waits.append(timeout)
        now[0] += 0.5
        keeper.changed()
        return False

    monkeypatch.setattr(keeper._closed, "wait", tick)
    keeper.changed()
    keeper._wait(1.0, 5.0)
    assert now[0] == pytest.approx(5.0)


def test_a_crowded_gallery_is_not_put_off():
    gallery = Told()
    gallery.current.mode.crowded = True  # type: ignore[misc]
    keeper = Keeper(lambda: [gallery], None, clock=lambda: 0.0)
    keeper._wait(100.0, 100.0)
    keeper.close()
