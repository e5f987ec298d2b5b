"""What a random relay does wrong, drawn from its seed. Known to the relay and to the test, which has to
write settings and campaigns that fit."""

import random

# Each is one thing that a relay does at a reply; random_relay.py says how.
MISDEEDS = ("stray", "doubled", "early", "early in content", "cut", "cut in content", "reply and cut",
            "delay", "long delay", "multiline", "bytes", "wrong code", "garbage", "goodbye")
HARMLESS = ("delay", "multiline", "bytes")  # a client has to understand these
CALM_AFTER_S = 6  # then it does nothing wrong any more, so that a run comes to its end
LARGE_BYTES = 1_200_000  # a mail of a seed that is large has at least as many


class Plan:
    def __init__(self, seed):
        draw = random.Random(seed)
        self.seed = seed
        self.pipelining = draw.random() < 0.7
        self.tls = draw.choices(("off", "starttls", "smtps"), (8, 1, 1))[0]
        self.large = draw.random() < 0.2
        # A small window leaves the client of a large mail with bytes that it knows to be unsent.
        self.small_window = self.large or draw.random() < 0.2
        self.size = draw.choice((None, 0, 20_000_000, 900_000))  # as in EHLO; None: not offered
        self.rate = draw.choice((0.05, 0.15, 0.3))  # of the replies that something is done with
        self.refusals = draw.choice((0, 0.05, 0.15))  # of the honest replies
        self.kinds = draw.sample(MISDEEDS, draw.choice((1, 2, 4, len(MISDEEDS))))
        self.budget = draw.randint(4, 16)  # misdeeds

    def __repr__(self):
        return (f"seed {self.seed}: {self.kinds} rate={self.rate} budget={self.budget} "
                f"refusals={self.refusals} pipelining={self.pipelining} tls={self.tls} "
                f"size={self.size} large={self.large} small_window={self.small_window}")
