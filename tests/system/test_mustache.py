"""The language of templates, judged by others: the published Mustache specification, and random
templates rendered by python3-pystache, which shares no code with us.

The specification's folder (github.com/mustache/spec, its json files) is in MUSTACHE_SPEC, or beside
the project in shared/data/mustache-spec; where it is not there, that test is skipped. MF_SEED is the
seed of the random templates, MF_SAMPLES their number.
"""

import json
import os
import random
import subprocess
import unittest

import pystache

from environment import ROOT

PROBE = os.path.join(os.environ["MF_BUILD"], "tests", "template_probe")
BESIDE = os.path.join(os.path.dirname(ROOT), "shared", "data", "mustache-spec")
SPEC = os.environ.get("MUSTACHE_SPEC") or BESIDE
FILES = ("comments", "delimiters", "interpolation", "inverted", "partials", "sections")
CASES = 136
SEED = int(os.environ.get("MF_SEED", "4"))
SAMPLES = int(os.environ.get("MF_SAMPLES", "10000"))


def render_all(cases):
    """The texts for dicts of template, partials and data; a list with the reason where there is none."""
    lines = [json.dumps({"v": 1, "run": 1, "chunk": 0, "attempt": 1, "digest": "0" * 16,
                         "recipients": [{"p": 0, "id": "1", "to": "a@b.example", "vars": case}]})
             for case in cases]
    done = subprocess.run([PROBE], input="\n".join(lines) + "\n", text=True, encoding="utf-8",
                          stdout=subprocess.PIPE, check=True, timeout=240)
    return [json.loads(line) for line in done.stdout.splitlines()]


class SpecificationTest(unittest.TestCase):
    @unittest.skipUnless(os.path.isdir(SPEC), f"the Mustache specification is not in {SPEC}; "
                         "MUSTACHE_SPEC can name another folder")
    def test_the_specification_passes_completely(self):
        tests = []
        for name in FILES:
            with open(os.path.join(SPEC, f"{name}.json"), encoding="utf-8") as file:
                tests += [(name, test) for test in json.load(file)["tests"]]
        got = render_all([{"template": test["template"], "partials": test.get("partials", {}),
                           "data": test["data"]} for _, test in tests])
        failed = [(name, test["name"], test["expected"], text)
                  for (name, test), text in zip(tests, got, strict=True) if text != test["expected"]]
        print(f"Mustache specification: {len(tests)} cases, {len(failed)} failed")
        self.assertEqual(failed, [])
        self.assertGreaterEqual(len(tests), CASES)


# ---- random templates

DATA = {
    "a": "A", "h": "<b> & \"c\"", "n": 7, "zero": 0, "yes": True, "no": False, "none": None,
    "empty": [], "map": {"k": "K", "deep": {"x": "X"}}, "words": ["one", 2, "<3>"],
    "list": [{"a": 1, "k": 2}, {"a": 2, "list": []}, {"a": 3, "map": {"k": "inner"}}],
}
VALUES = ("{{a}}", "{{{h}}}", "{{&h}}", "{{h}}", "{{ n }}", "{{map.k}}", "{{map.deep.x}}",
          "{{map.gone}}", "{{gone}}", "{{zero}}", "{{! a remark }}")
SECTIONS = ("a", "zero", "yes", "no", "none", "empty", "map", "map.k", "map.gone", "words", "list",
            "gone")


class Samples:
    """Templates in lines: a tag alone, or text with tags in it. Not made are lines of tags and blanks
    only, with more than one tag or with blanks behind it: pystache keeps those."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def partial(self, partials):
        name = self.random.choice(partials)
        return self.random.choice((f"{{{{>{name}}}}}", f"{{{{> {name} }}}}"))

    def inline(self, partials):
        pick = self.random.choice
        text = pick(("", " ", "\t", "  ")) + pick(
            ("x", "<&>", "가", "{{a}}", "{{{h}}}", "{{#yes}}z{{/yes}}", "{{^no}}{{a}}{{/no}}"))
        for _ in range(self.random.randrange(4)):
            kind = self.random.random()
            if kind < 0.5:
                text += pick(VALUES)
            elif kind < 0.8 or not partials:
                name = pick(SECTIONS)
                text += (f"{{{{{pick('#^')}{name}}}}}" + pick(("x", "y {{a}}", "{{map.k}} ")) +
                         f"{{{{/{name}}}}}")
            else:
                text += self.partial(partials)
        return text + pick(("x", " .")) + "\n"

    def alone(self, partials, depth):
        pick, blanks = self.random.choice, self.random.choice(("", " ", "\t", "  "))
        kind = self.random.random()
        if kind < 0.2:
            return blanks + pick(("{{! a remark }}", "{{!\n two lines\n}}")) + "\n"
        if kind < 0.7 and depth < 3:
            name = pick(SECTIONS)
            return (f"{blanks}{{{{{pick('##^')}{name}}}}}\n" + self.body(partials, depth + 1) +
                    f"{blanks}{{{{/{name}}}}}\n")
        return blanks + self.partial(partials) + "\n" if partials else "\n"

    def body(self, partials, depth=0):
        return "".join(self.inline(partials) if self.random.random() < 0.5
                       else self.alone(partials, depth) for _ in range(self.random.randrange(6)))

    def case(self):
        partials = {"q": self.body(()), "p": self.body(("q",))}
        return {"template": self.body(("p", "q")), "partials": partials, "data": DATA}


class OracleTest(unittest.TestCase):
    def test_random_templates_agree_with_pystache(self):
        samples = Samples(SEED)
        cases = [samples.case() for _ in range(SAMPLES)]
        differ = []
        for case, text in zip(cases, render_all(cases), strict=True):
            want = pystache.Renderer(partials=case["partials"]).render(case["template"], case["data"])
            if want != text:
                differ.append((case["template"], case["partials"], want, text))
        differ.sort(key=lambda d: len(str(d)))
        print(f"{SAMPLES} random templates, seed {SEED}: {len(differ)} differ from pystache")
        self.assertEqual(differ[:3], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)  # which names what is skipped
