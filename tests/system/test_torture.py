"""Every allocation and every call of the operating system fails in its turn: in the pure modules, and
while the database and broker modules connect, work and close. tests/tools/torture is the program,
tests/preload/faillib.c makes the Nth call fail, for N = 1, 2, 3 ... until a run no longer has so many.

Whatever fails, the program ends, with an error that says something, or, where a small allocation
failed, with our own message of the end. It never crashes, hangs, blames its input for the lack of
memory, or calls something done that was not.
"""

import collections
import os
import re
import signal
import subprocess
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import ENV, Stage, binary

AT_ONCE = 2
ALL_BELOW = 400  # every N up to here, a share of those beyond
RUN_S = 90       # for one run: more than the limits in torture.c, each of which may pass
INPUT = (1, 2)   # ERR_CONFIG, ERR_INPUT of enum err_code

# Where a library dies for want of memory, whatever we do: the version numbers are those it was seen in.
FRAGILE = ("/libmariadb.so",)  # 3.3: mysql_real_connect uses what strdup and malloc returned

End = collections.namedtuple("End", "number hit crash code out err seconds")


class Torture:
    """Runs of one part of torture with one kind of fault."""

    def __init__(self, stage, part, kind, first):
        self.stage, self.part, self.kind, self.number = stage, part, kind, first
        self.all_below = 30 if part == "db-cold" else ALL_BELOW  # mostly OpenSSL's affair
        self.library = os.path.join(os.path.dirname(binary("torture")), "libfaillib.so")
        self.env = {k: v for k, v in ENV.items() if k.startswith("MAILFLOCK_")}
        self.env.update(MAILFLOCK_BROKER_VHOST=stage.vhost, MAILFLOCK_DATABASE_NAME=stage.database)

    def run(self, n):
        number = self.number + n
        report = os.path.join(self.stage.dir, f"report-{self.part}-{self.kind}-{n}")
        env = {**self.env, "LD_PRELOAD": self.library, "FAIL_KIND": self.kind, "FAIL_AT": str(n),
               "FAIL_REPORT": report}
        began = time.monotonic()
        try:
            done = subprocess.run([binary("torture"), self.part, str(number)], env=env, timeout=RUN_S,
                                  stdin=subprocess.DEVNULL, capture_output=True, check=False)
            code, out, err = done.returncode, done.stdout.decode(), done.stderr.decode()
        except subprocess.TimeoutExpired as e:
            code, out, err = None, (e.stdout or b"").decode(), f"not within {RUN_S} s"
        with open(report, encoding="utf-8") as file:
            said = dict(line.rstrip().split(" ", 1) for line in file)
        os.unlink(report)
        return End(number, said.get("hit"), said.get("crash", ""), code, out, err,
                   time.monotonic() - began)

    def ends(self):
        """n -> End for the first N, the last of which had no such call."""
        found, n = {}, 1
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while not found or found[max(found)].hit:
                batch = []
                while len(batch) < 8 * AT_ONCE:
                    batch.append(n)
                    n += 1 if n < self.all_below else n // 20
                found.update(zip(batch, pool.map(self.run, batch)))
        return found


class TortureTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stage = cls.enterClassContext(Stage(init=False))
        cls.stage.execute("CREATE TABLE torture (number BIGINT PRIMARY KEY, word TEXT) ENGINE=InnoDB "
                          "CHARSET=utf8mb4")

    def is_fragile(self, end, kind):
        return (end.code == -signal.SIGSEGV and kind == "alloc"
                and any(name in end.crash for name in FRAGILE))

    def wrong(self, end, kind, good):
        """What is wrong with how a run ended, or None."""
        if end.code is None:
            return "hangs"
        if end.code == -signal.SIGABRT and kind == "alloc" and 'msg="out of memory"' in end.err:
            return None
        if self.is_fragile(end, kind):
            return None
        if end.code < 0:
            return f"dies of {signal.Signals(-end.code).name} in {end.crash}"
        last = end.out.splitlines()[-1] if end.out else ""
        error = re.fullmatch(r"err code=(\d+) native=-?\d+ text=(.+)", last)
        if end.code == 0:
            return None if end.out == good(end.number) else "has another result"
        if end.code != 1 or not error or error[1] == "0":
            return "has no error"
        if not end.hit:
            return "fails though nothing was made to fail"
        if error[2].startswith("wrong result"):
            return "has a wrong result"
        if kind == "alloc" and int(error[1]) in INPUT:
            return "blames the input for the lack of memory"
        return None

    def torture(self, part, kind, first, good):
        """The ends of all runs; fails on those that end as they must not."""
        began = time.monotonic()
        ends = Torture(self.stage, part, kind, first).ends()
        hit = {n: end for n, end in ends.items() if end.hit}
        print(f"{part} {kind}: {len(hit)} of {max(hit, default=0)} calls failed, in "
              f"{time.monotonic() - began:.1f} s: " +
              ", ".join(f"{count} x {how}" for how, count in collections.Counter(
                  "done all the same" if e.code == 0 else "error" if e.code == 1 else
                  f"crash in {e.crash}" if e.crash else "out of memory" for e in hit.values()).items()) +
              f"; the longest took {max(e.seconds for e in ends.values()):.1f} s")
        bad = [f"{part} {kind} {n} ({end.hit}, {end.seconds:.1f} s) {why}: {end.out}{end.err}"
               for n, end in ends.items() if (why := self.wrong(end, kind, good))]
        self.assertFalse(bad, f"{len(bad)}:\n" + "\n".join(bad[:20]))
        self.assertGreater(len(hit), 5, "the library did not find the calls")
        return ends.values()

    def said(self, ends, word):
        """The numbers of the runs that said this of themselves."""
        return {end.number for end in ends if f"{word} {end.number}\n" in end.out}

    def test_pure_modules(self):
        good = subprocess.run([binary("torture"), "pure"], stdout=subprocess.PIPE, check=True,
                              text=True).stdout
        self.torture("pure", "alloc", 0, lambda number: good)

    def test_database(self):
        for first, part, kind in ((10000, "db", "alloc"), (20000, "db", "io"),
                                  (30000, "db", "interrupt"), (40000, "db-cold", "alloc")):
            with self.subTest(part=part, kind=kind):
                ends = self.torture(part, kind, first, lambda number: f"committed {number}\nok\n")
                there = {n for n, in self.stage.rows("SELECT number FROM torture")}
                self.assertFalse(self.said(ends, "committed") - there, "committed, and not there")

    def test_broker(self):
        for first, kind in ((10000, "alloc"), (20000, "io"), (30000, "interrupt")):
            with self.subTest(kind):
                ends = self.torture("broker", kind, first, lambda number: f"confirmed {number}\nok\n")
                there = self.take_all("mailflock.kept")
                self.assertFalse(self.said(ends, "confirmed") - there, "confirmed, and not there")

    def take_all(self, queue):
        channel, there = self.stage.channel(), set()
        while True:
            method, _, body = channel.basic_get(queue, auto_ack=True)
            if not method:
                channel.close()
                return there
            there.add(int(body))


if __name__ == "__main__":
    unittest.main(verbosity=2)
