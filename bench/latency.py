"""Latencies as a worker counts them: the histograms of its /metrics, and quantiles out of them."""

import re
import urllib.request

from figures import Figure

STAGES = ("queue_wait", "connect", "dialogue", "commit")
QUANTILES = (50, 95, 99)
BUCKET = re.compile(r'^mailflock_(\w+)_seconds_bucket\{le="([^"]+)"\} (\d+)$', re.M)


def read(ports):
    """Stage -> {upper bound in s: how many up to it}, of all workers together."""
    counts = {stage: {} for stage in STAGES}
    for port in ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            for stage, bound, count in BUCKET.findall(answer.read().decode()):
                if stage in counts:
                    of = counts[stage]
                    of[float(bound)] = of.get(float(bound), 0) + int(count)
    return counts


def quantile(counts, percent):
    """As Prometheus does it: straight through the bucket. None where nothing was counted."""
    bounds = sorted(counts)
    total = counts[bounds[-1]] if bounds else 0
    if not total:
        return None
    rank, below, low = total * percent / 100, 0, 0.0
    for bound in bounds:
        if counts[bound] >= rank:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (rank - below) / max(counts[bound] - below, 1)
        below, low = counts[bound], bound
    return low


def quantiles(ports):
    """Stage -> {percent: ms or None}."""
    return {stage: {p: None if (s := quantile(counts, p)) is None else s * 1000
                    for p in QUANTILES} for stage, counts in read(ports).items()}


def lines(runs):
    for stage in STAGES:
        for percent in QUANTILES:
            values = [run.latency[stage][percent] for run in runs]
            if None not in values:
                yield Figure(f"  {stage.replace('_', ' ')}, p{percent}", values, "ms")
