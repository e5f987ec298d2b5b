"""./dev chaos in its short form: 5,000 recipients under each policy, both campaigns at the same time,
6 kills and some other faults. The seed is a fixed one, which has found a bug; ./dev chaos draws others."""

import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LINE = (r"^chaos: recipients=5000 sent=\d+ failed=\d+ unknown=\d+ lost=0 duplicates=(\d+) "
        r"window=\d+ kills=6 balanced=yes$")


class ChaosTest(unittest.TestCase):
    def test_nobody_is_lost_and_nobody_gets_two_against_the_policy(self):
        done = subprocess.run(
            [sys.executable, os.path.join(ROOT, "tests", "chaos", "chaos.py"), "--policy", "both",
             "--recipients", "5000", "--kills", "6", "--per-second", "1500", "--seed", "574266"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines = re.findall(LINE, done.stdout, re.M)
        self.assertEqual((done.returncode, len(lines)), (0, 2), done.stdout)
        self.assertEqual(lines[0], "0", done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
