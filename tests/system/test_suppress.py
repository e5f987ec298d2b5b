"""mailflock suppress: the list of addresses that get no mail. That workers honour it: test_consumer."""

import csv
import io
import os
import re
import unittest

import pymysql

from harness import ROOT, Stage


def migrations(up_to):
    """The first migrations of common/schema.c, which are never edited: (number, name, SQL)."""
    with open(os.path.join(ROOT, "common", "schema.c"), encoding="utf-8") as file:
        source = file.read()
    texts = {name: "".join(re.findall(r'"([^"]*)"', text)) for name, text in
             re.findall(r'static const char (\w+)\[\] =((?:\s*"[^"]*")+);', source)}
    found = re.findall(r'\{(\d+), "(\w+)", (\w+), (?:"[^"]*"|NULL)\}', source)
    assert len(found) >= up_to, "the table in schema.c looks otherwise now"
    return [(int(number), name, texts[sql]) for number, name, sql in found if int(number) <= up_to]


class SuppressTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stage = cls.enterClassContext(Stage(settings={"start_limit": "2s"}))

    def setUp(self):
        self.stage.execute("DELETE FROM suppression")

    def list(self):
        return [(row["email"], row["reason"], row["source"]) for row in
                self.stage.mailflock_json("suppress", "list")["suppressions"]]

    def refused(self, *args, says, code=1):
        before = self.list()
        done = self.stage.run_program("mailflock", "suppress", *args, code=code)
        self.assertIn(says, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(self.list(), before)

    def test_addresses_are_added_and_removed_whatever_their_case(self):
        run = self.stage.mailflock
        self.assertEqual(run("suppress", "add", "Mia@Example.com", "--reason", "asked by phone"),
                         "mia@example.com gets no mail from now on\n")
        self.assertEqual(self.list(), [("mia@example.com", "asked by phone", "operator")])
        self.assertEqual(run("suppress", "add", "MIA@example.com"),
                         "mia@example.com was on the list already\n")
        self.assertEqual(self.list(), [("mia@example.com", "asked by phone", "operator")])
        run("suppress", "add", "mia@example.com", "--reason=전화로 요청")
        self.assertEqual(self.list(), [("mia@example.com", "전화로 요청", "operator")])
        self.assertEqual(run("suppress", "remove", "mia@EXAMPLE.com"),
                         "mia@example.com may get mail again\n")
        self.assertEqual(self.list(), [])
        self.refused("remove", "mia@example.com", says="is not on the suppression list: nothing changed")

    def test_letters_with_accents_are_letters_of_their_own(self):
        for address in ("josé@example.com", "jose@example.com", "straße@example.com",
                        "strasse@example.com", "x@bücher.example"):
            self.stage.mailflock("suppress", "add", address)
        self.assertEqual({row[0] for row in self.list()}, {
            "josé@example.com", "jose@example.com", "straße@example.com", "strasse@example.com",
            "x@xn--bcher-kva.example"})
        self.stage.mailflock("suppress", "remove", "jose@example.com")
        self.assertEqual(len(self.list()), 4)

    def test_what_is_no_address_or_reason_is_refused(self):
        for address in ("nobody", "", "a b@example.com", "a@b\nBcc: c@d.e"):
            self.refused("add", address, says="the address")
            self.refused("remove", address, says="the address")
        self.refused("add", "a@example.com", "--reason", "x" * 256, says="more than 255 characters")
        self.refused("add", "a@example.com", "--reason", "a\nb", says="control character")
        for args in ((), ("add",), ("list", "x"), ("add", "a@b.c", "--json"), ("list", "--reason", "x"),
                     ("list", "--json", "--csv"), ("drop", "x")):
            self.refused(*args, says="see 'mailflock suppress -h'", code=2)

    def test_the_list_has_three_forms(self):
        self.assertEqual(self.stage.mailflock("suppress", "list"), "")
        self.stage.execute("INSERT INTO suppression VALUES ('b@x.y', 'say \"no\", twice', 'office', "
                           "'2026-01-02 03:04:05.9'), ('a@x.y', '', '', '2026-01-02 03:04:05')")
        self.assertEqual(self.stage.mailflock("suppress", "list"),
                         "a@x.y 2026-01-02T03:04:05Z source=- \n"
                         'b@x.y 2026-01-02T03:04:05Z source=office say "no", twice\n')
        rows = list(csv.reader(io.StringIO(self.stage.mailflock("suppress", "list", "--csv"))))
        self.assertEqual(rows, [["email", "reason", "source", "at"],
                                ["a@x.y", "", "", "2026-01-02T03:04:05Z"],
                                ["b@x.y", 'say "no", twice', "office", "2026-01-02T03:04:05Z"]])
        self.assertEqual(self.stage.mailflock_json("suppress", "list"), {"suppressions": [
            {"email": "a@x.y", "reason": "", "source": "", "at": "2026-01-02T03:04:05Z"},
            {"email": "b@x.y", "reason": 'say "no", twice', "source": "office",
             "at": "2026-01-02T03:04:05Z"}]})

    def test_a_long_list_comes_whole(self):
        for count in (999, 1000, 2001):
            self.setUp()
            self.stage.execute("INSERT INTO suppression SELECT CONCAT('u', seq, '@x.y'), '', '', "
                               f"UTC_TIMESTAMP(6) FROM seq_1_to_{count}")
            found = [row[0] for row in self.list()]
            self.assertEqual(len(found), count)
            self.assertEqual(found, sorted(f"u{i}@x.y" for i in range(1, count + 1)))
            self.assertEqual(self.stage.mailflock("suppress", "list").count("\n"), count)

    def test_the_table_takes_no_capital_letters(self):
        with self.assertRaisesRegex(pymysql.err.Error, "suppression_in_lower_case"):
            self.stage.execute("INSERT INTO suppression VALUES ('Mia@x.y', '', '', UTC_TIMESTAMP(6))")

    def test_init_folds_what_an_older_list_holds(self):
        with Stage(init=False) as stage:
            stage.execute("CREATE TABLE schema_migration (number INT NOT NULL PRIMARY KEY, name "
                          "VARCHAR(64) NOT NULL, applied_at DATETIME(6) NOT NULL)")
            for number, name, sql in migrations(up_to=4):
                stage.execute(sql)
                stage.execute("INSERT INTO schema_migration VALUES (%s, %s, NOW(6))", number, name)
            stage.execute("INSERT INTO suppression VALUES ('Mia@Example.com', 'r', 's', NOW(6)), "
                          "('leo@example.com', '', '', NOW(6))")
            stage.mailflock("init")
            self.assertEqual(stage.rows("SELECT email, reason FROM suppression ORDER BY 1"),
                             [("leo@example.com", ""), ("mia@example.com", "r")])


if __name__ == "__main__":
    unittest.main()
