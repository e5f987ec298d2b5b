"""What ./dev demo has to know of a campaign beyond its file in config/campaigns: which sample data
it needs, and what they are called."""


class Campaign:
    """Sample data is a file of config/samples that adds recipients @first to @last, and has a view
    left_out of those who must get nothing."""

    sample, person, left_out = "subscribers.sql", "subscriber", "have left"

    def __init__(self, name):
        self.name = name


CAMPAIGNS = {name: Campaign(name) for name in ("welcome", "newsletter", "personal-newsletter")}
