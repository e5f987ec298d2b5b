"""Cron expressions in time zones, judged by python3-croniter and Python's zoneinfo, which share no
code with us.

By wall time: croniter says which wall times fit, without any zone; zoneinfo says when the clocks show
them. Where they skip one, it happens when they have done so; where they repeat one, the first time
counts. Three kinds of expression mean something else to croniter than to cron (docs/schedules.md)
and are put differently to it; how many is printed.

With croniter's own idea of zones: the same, but for samples where the clocks change between a day
before the start and the answer: there croniter follows other rules, or answers with a time before the
start. They are left out; how many is printed.

MF_SEED in the environment is the seed of the samples, MF_SAMPLES their number.
"""

import datetime
import heapq
import os
import random
import re
import subprocess
import unittest
import zoneinfo

import croniter

PROBE = os.path.join(os.environ["MF_BUILD"], "tests", "cron_probe")
SEED = int(os.environ.get("MF_SEED", "5"))
SAMPLES = int(os.environ.get("MF_SAMPLES", "10000"))
NEXT = 3
MINUTE, HOUR, DAY = 60, 3600, 86400
UTC = datetime.timezone.utc
FROM, UNTIL = 946684800, 4102444800  # the years 2000 to 2099
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
NAMED = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")


# ---- samples

class Samples:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.zones = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})

    def value(self, field, number):
        """A value as it may be written: months and weekdays by name now and then."""
        if self.random.random() < 0.3:
            name = {3: MONTHS[number - 1:number], 4: WEEKDAYS[number % 7:number % 7 + 1]}.get(field)
            if name and not (field == 4 and number == 7):
                return self.random.choice((name[0], name[0].upper(), name[0].title()))
        return str(number)

    def item(self, field):
        least, most = RANGES[field]
        kind = self.random.random()
        step = f"/{self.random.randint(1, most)}" if self.random.random() < 0.4 else ""
        if kind < 0.2:
            return "*" + step
        first, last = sorted((self.random.randint(least, most), self.random.randint(least, most)))
        if kind < 0.5:
            return f"{self.value(field, first)}-{self.value(field, last)}{step}"
        if kind < 0.55 and field == 4:
            return self.random.choice(("sat-sun", "fri-SUN", "1-sun", "0-6", "1-7", "0-7"))
        if kind < 0.55 and field == 2:
            return "1-31"
        return self.value(field, first)

    def field(self, field):
        if self.random.random() < 0.3:
            return "*"
        return ",".join(self.item(field) for _ in range(self.random.choice((1, 1, 1, 2, 3))))

    def expression(self):
        """One that some date fits."""
        while True:
            if self.random.random() < 0.02:
                return self.random.choice(NAMED)
            fields = [self.field(i) for i in range(5)]
            # Nobody's clocks are changed at noon: half of the samples lie where they are.
            if self.random.random() < 0.5:
                fields[1] = self.random.choice(("0", "1", "2", "3", "0-3", "1,2", "2-4", "23", "*"))
            if both_restricted(fields) or some_date(fields):
                return " ".join(fields)

    def start(self, zone):
        """Any second, or one near a change of the clocks."""
        at = self.random.randrange(FROM, UNTIL)
        if self.random.random() < 0.5:
            return at
        for ahead in range(0, 400 * DAY, 20 * DAY):
            change = change_between(zone, at + ahead, at + ahead + 20 * DAY)
            if change:
                near = self.random.choice((HOUR, 4 * HOUR, 2 * DAY))
                return change + self.random.randint(-near, near // 2)
        return at


def offset(zone, at):
    return int(datetime.datetime.fromtimestamp(at, zone).utcoffset().total_seconds())


def change_between(zone, low, high):
    """The second of a change of the clocks, where their offsets differ at low and high."""
    before = offset(zone, low)
    if offset(zone, high) == before:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
    return high


def offsets_differ(zone, low, high):
    """Whether the clocks change between two seconds, also there and back."""
    return any(offset(zone, at) != offset(zone, low) for at in [*range(low, high, 7 * DAY), high])


# ---- what croniter is asked

def numbers(field, text):
    """The values of a field without regard to what a week calls its end."""
    found = set()
    for name, number in [(n, i + 1) for i, n in enumerate(MONTHS)] if field == 3 else \
            [(n, i) for i, n in enumerate(WEEKDAYS)] if field == 4 else []:
        text = re.sub(name, str(number), text, flags=re.I)
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        least, most = (RANGES[field] if first == "*" else (int(first), int(last or first)))
        if field == 4 and last == "0" and least > 0:
            most = 7
        found.update(n % 7 if field == 4 else n for n in range(least, most + 1, int(step or 1)))
    return found


def both_restricted(fields):
    return fields[2][0] != "*" and fields[4][0] != "*"


def some_date(fields):
    days = numbers(2, fields[2])
    return any(day <= MONTH_DAYS[month - 1] for month in numbers(3, fields[3]) for day in days)


def questions(expression):
    """(expressions, day_or, why): what to ask croniter, which together mean the same; why it is not
    the expression itself, or None."""
    fields = expression.split()
    if len(fields) == 1 or "*" in (fields[2], fields[4]):
        return [expression], True, None
    restricted = both_restricted(fields)
    days, weekdays = numbers(2, fields[2]), numbers(4, fields[4])
    if restricted and (len(days) == 31 or len(weekdays) == 7):
        return [with_days(fields, "*", "*")], True, "all days, without a *"
    if restricted and not some_date(fields):
        return [with_days(fields, "*", fields[4])], True, "a day that none of the months has"
    return [expression], restricted, None if restricted else "a * with a step in a day field"


def with_days(fields, days, weekdays):
    return " ".join((*fields[:2], days, fields[3], weekdays))


def without_skipped_days(expression):
    """croniter looks for day 31 of a month of 28 days on day 3 of the next, and does not see days 1
    to 3 then: such days and others are two questions."""
    fields = expression.split()
    if len(fields) == 1 or fields[2] == "*":
        return [expression]
    days = numbers(2, fields[2])
    early, late = [d for d in days if d <= 28], [d for d in days if d > 28]
    if not early or not late:
        return [expression]
    parts = [with_days(fields, ",".join(map(str, part)), fields[4]) for part in (early, late)]
    return [part for part in parts if some_date(part.split())]


def ask(expression, start, **more):
    """croniter's iterators, and why it is not asked for the expression itself."""
    texts, day_or, why = questions(expression)
    parts = [part for text in texts for part in without_skipped_days(text)]
    if not why and len(parts) > 1:
        why = "days beyond the 28th and others"
    return [croniter.croniter(part, start, day_or=day_or, **more) for part in parts], why


def instant(zone, wall):
    """When the clocks first show this naive time, or where they skip it, have done so."""
    at = int(wall.replace(tzinfo=zone, fold=0).timestamp())
    if datetime.datetime.fromtimestamp(at, zone).replace(tzinfo=None) == wall:
        return at
    low, high = at - 2 * DAY, at + 2 * DAY
    while high - low > 1:
        middle = (low + high) // 2
        shown = datetime.datetime.fromtimestamp(middle, zone).replace(tzinfo=None)
        low, high = (low, middle) if shown > wall else (middle, high)
    return high


def expected(expression, zone, start, count):
    wall = datetime.datetime.fromtimestamp(start, zone).replace(tzinfo=None)
    if offsets_differ(zone, start - DAY, start + DAY):
        wall -= datetime.timedelta(hours=3)
    walls = heapq.merge(*ask(expression, wall, ret_type=datetime.datetime)[0])
    found = []
    while len(found) < count:
        at = instant(zone, next(walls))
        if at > start and at not in found:
            found.append(at)
    return found


def probe(samples):
    lines = "".join(f"{e}\t{z}\t{s}\t{NEXT}\n" for e, z, s in samples)
    done = subprocess.run([PROBE], input=lines, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.splitlines()


class CronOracle(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        make = Samples(SEED)
        cls.samples = []
        for i in range(SAMPLES):
            name = make.zones[i % len(make.zones)]
            cls.samples.append((make.expression(), name, make.start(zoneinfo.ZoneInfo(name))))
        cls.answers = probe(cls.samples)
        print(f"\n{SAMPLES} samples, seed {SEED}, {len({z for _, z, _ in cls.samples})} zones")

    def test_wall_times_agree(self):
        put_differently = {}
        for (expression, name, start), answer in zip(self.samples, self.answers, strict=True):
            with self.subTest(expression=expression, zone=name, start=start):
                zone = zoneinfo.ZoneInfo(name)
                _, why = ask(expression, start)
                put_differently[why] = put_differently.get(why, 0) + 1
                got, _, before = answer.partition("|")
                self.assertEqual([int(t) for t in got.split()], expected(expression, zone, start, NEXT))
                before = int(before)
                self.assertLess(before, start)
                first, second = expected(expression, zone, before - 1, 2)
                self.assertEqual(first, before, "the previous one is none")
                self.assertGreaterEqual(second, start, "there is one after the previous one")
        for why, n in put_differently.items():
            print(f"put to croniter {'as it is' if not why else f'differently, {why}'}: {n}")

    def test_croniters_own_zones_agree(self):
        compared = left_out = equal_all_the_same = 0
        for (expression, name, start), answer in zip(self.samples, self.answers, strict=True):
            with self.subTest(expression=expression, zone=name, start=start):
                zone = zoneinfo.ZoneInfo(name)
                got = int(answer.split()[0])
                asked, _ = ask(expression, datetime.datetime.fromtimestamp(start, zone))
                want = min(int(iterator.get_next(float)) for iterator in asked)
                if offsets_differ(zone, start - DAY, max(got, want)):
                    left_out += 1
                    equal_all_the_same += got == want
                    continue
                compared += 1
                self.assertEqual(got, want)
        print(f"croniter's own zones: {compared} agree; the clocks change meanwhile in {left_out}, of "
              f"which {equal_all_the_same} agree")
        self.assertGreater(compared, SAMPLES / 4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
