"""Sampled profiles, and the pictures of them."""

import threading
import time

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.debug.flame import draw, focused
from centrifugo_tx.debug.profile import Profile, Sampler, flame_tree

PROFILE = Profile(1.0, 100, 80, 0, {"a;b;c": 10, "a;b;d<x>": 4, "a;e": 6})


class TreeTests(SynchronousTestCase):
    """Stacks as a tree."""

    def setUp(self) -> None:
        self.root = flame_tree(PROFILE)

    def test_samples(self) -> None:
        """A function has the samples of all that it has called."""
        self.assertEqual(self.root.samples, 20)
        [a] = self.root.calls.values()
        self.assertEqual({n: c.samples for n, c in a.calls.items()}, {"b": 14, "e": 6})

    def test_focus(self) -> None:
        """A path names a function by the order of samples."""
        node, names = focused(self.root, "0.0.1")
        self.assertEqual((node.name, names), ("d<x>", ["all", "a", "b", "d<x>"]))

    def test_wrong_focus(self) -> None:
        """A path that leads nowhere ends where it still led."""
        for path in ("0.7", "0.x", "0.-1", "0.²"):
            self.assertEqual(focused(self.root, path)[0].name, "a")

    def test_picture(self) -> None:
        """Each function is a box with its share; names are escaped."""
        picture = draw(self.root, "", 20, "profile?focus=")
        self.assertEqual(picture.count("<rect"), 6)
        self.assertIn("<title>d&lt;x&gt;: 20.0 % (4 samples)</title>", picture)
        self.assertIn('href="profile?focus=0.0.1"', picture)
        self.assertNotIn("<x>", picture)


class SamplerTests(SynchronousTestCase):
    """Samples of real threads."""

    def sample(self, seconds: float, stop: bool = False) -> Profile:
        """Take a profile while a thread is at work."""
        taken: list[Profile] = []
        done, over = threading.Event(), threading.Event()

        def finish(profile: Profile) -> None:
            taken.append(profile)
            done.set()

        def busy_function() -> None:
            while not over.is_set():
                sum(range(100))

        worker = threading.Thread(target=busy_function)
        worker.start()
        sampler = Sampler(seconds, finish)
        sampler.start()
        if stop:
            sampler.stop()
        self.assertTrue(done.wait(60))
        over.set()
        worker.join()
        return taken[0]

    def test_busy(self) -> None:
        """The function of a busy thread is in the stacks, a waiting one is not."""
        profile = self.sample(0.3)
        self.assertGreater(profile.waiting, 0)  # this thread
        self.assertTrue(any("busy_function" in stack for stack in profile.stacks))
        self.assertEqual(
            profile.samples,
            profile.waiting + profile.other + sum(profile.stacks.values()),
        )

    def test_stop(self) -> None:
        """A profile can be ended early."""
        began = time.monotonic()
        self.sample(60, stop=True)
        self.assertLess(time.monotonic() - began, 30)
