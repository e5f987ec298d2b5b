"""mailflock import and mailflock suppress import: CSV files, good and bad, into the real database."""

import csv
import json
import os
import random
import subprocess
import unittest

from harness import Stage, binary, wait_until

MIB = 1024 * 1024


class ImportTestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stage = cls.enterClassContext(Stage(settings={"start_limit": "2s"}))

    def setUp(self):
        self.stage.execute("DROP TABLE IF EXISTS member")
        self.stage.execute("DELETE FROM suppression")
        self.file = os.path.join(self.stage.dir, "file.csv")

    def write(self, *parts):
        """Parts of the file: texts, or bytes as they are."""
        with open(self.file, "wb") as file:
            for part in parts:
                file.write(part if isinstance(part, bytes) else part.encode())

    def run_import(self, *args, code=0):
        return self.stage.run_program("mailflock", "import", self.file, "--table", "member", *args,
                                      code=code)

    def imported(self, code=0):
        """Imports the file: the report as a dict, and the complaints as (line, text)."""
        done = self.run_import("--json", code=code)
        head = self.file + ":"
        lines = [line[len(head):].split(": ", 1) for line in done.stderr.splitlines()
                 if line.startswith(head)]
        self.assertEqual(len(lines), len(done.stderr.splitlines()), done.stderr)
        return json.loads(done.stdout), [(int(number), text) for number, text in lines]

    def rows(self, columns="*", order="1"):
        return self.stage.rows(f"SELECT {columns} FROM member ORDER BY {order}")

    def refused(self, says, *args, code=1):
        done = self.run_import(*args, code=code)
        self.assertIn(says, done.stderr)
        self.assertEqual(done.stdout, "")


class ImportTest(ImportTestCase):
    # -- good files

    def test_a_table_is_made_of_ids_emails_and_a_column_for_each_name(self):
        self.write("\ufeffID, Email ,name,Lieblings Farbe,설명\r\n",
                   '7,mia@example.com,"Berg, Mia",blau,"zwei\r\nZeilen, ""so"""\r\n',
                   "\r\n",
                   "x-9, Leo@Example.com ,,,\n")
        report, complaints = self.imported()
        self.assertEqual((report["table"], report["created"], report["rows"], report["imported"],
                          report["bad"], complaints), ("member", True, 2, 2, 0, []))
        self.assertEqual(self.rows("id, email, name, `Lieblings Farbe`, `설명`"), [
            ("7", "mia@example.com", "Berg, Mia", "blau", 'zwei\r\nZeilen, "so"'),
            ("x-9", "Leo@Example.com", None, None, None)])

    def test_without_ids_the_email_is_the_key_whatever_its_case(self):
        self.write("email,name\nMia@Example.com,Mia\nleo@example.com,Leo\njosé@example.com,J\n"
                   "jose@example.com,K\n")
        self.imported()
        self.assertEqual(self.rows("id, email, name"), [
            (1, "mia@example.com", "Mia"), (2, "leo@example.com", "Leo"), (3, "josé@example.com", "J"),
            (4, "jose@example.com", "K")])
        self.write("Name,EMAIL\nMia Berg,MIA@example.COM\nNew,new@example.com\n")
        report, _ = self.imported()
        self.assertFalse(report["created"])
        self.assertEqual([r[1:] for r in self.rows("id, email, name")], [
            ("mia@example.com", "Mia Berg"), ("leo@example.com", "Leo"), ("josé@example.com", "J"),
            ("jose@example.com", "K"), ("new@example.com", "New")])
        self.assertEqual(self.stage.value("SELECT id FROM member WHERE name='Mia Berg'"), 1)

    def test_a_repeated_import_updates_by_id(self):
        self.write("id,email,name\n1,a@x.y,A\n2,b@x.y,B\n2,b@x.y,B again\n")
        self.imported()
        once = self.rows()
        self.imported()
        self.assertEqual(self.rows(), once)
        self.write("id,email,name\n2,new@x.y,\n3,a@x.y,C\n")  # another id may have the same address
        self.imported()
        self.assertEqual(self.rows(), [("1", "a@x.y", "A"), ("2", "new@x.y", None), ("3", "a@x.y", "C")])

    def test_a_column_left_out_keeps_what_is_there(self):
        self.write("id,email,name,city\n1,a@x.y,A,Bonn\n")
        self.imported()
        self.write("id,email,city\n1,a@x.y,Köln\n")
        self.imported()
        self.assertEqual(self.rows(), [("1", "a@x.y", "A", "Köln")])

    def test_what_python_writes_is_what_arrives(self):
        dice = random.Random(5)
        pieces = ["a", "é", "김", "🌷", " ", ",", ";", '"', '""', "\n", "\r\n", "\t", "'", "\\", "%", "`", "{{x}}", "NULL"]
        for number in range(6):
            want = [(str(i), f"u{i}@x.y", *("".join(dice.choices(pieces, k=dice.randrange(1, 9)))
                                            for _ in range(3))) for i in range(100)]
            separator = dice.choice(",;|\t")
            with open(self.file, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, delimiter=separator, lineterminator=dice.choice(("\n", "\r\n")),
                                    quoting=dice.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)))
                writer.writerow(("id", "email", "a", "b", "c"))
                writer.writerows(want)
            self.run_import("--separator", "tab" if separator == "\t" else separator)
            self.assertEqual(self.rows(order="CAST(id AS INT)"), want, number)

    def test_a_file_may_come_through_a_pipe(self):
        done = subprocess.run([binary("mailflock"), "-c", self.stage.config, "import", "-", "--table",
                               "member"], input="email\na@x.y\nb\n", text=True, capture_output=True,
                              env=self.stage.environment(), timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (1, "standard input:3: the address has no @\n"))
        self.assertRegex(done.stdout, r"^import: table=member created=yes rows=2 imported=1 bad=1 seconds=")
        self.assertEqual(self.rows("email"), [("a@x.y",)])

    def test_a_campaign_reads_what_was_imported(self):
        self.write("id,email,name,plan,city\nx-2,b@x.y,Bo,pro,Rom\n10,a@x.y,Al,free,Oslo\n")
        self.imported()
        self.stage.campaign("imported", audience={
            "sql": "SELECT * FROM member WHERE id > :after ORDER BY id LIMIT :limit"})
        done = self.stage.run_program("mailflock-producer", "run", "imported", "--dry-run")
        self.assertIn("recipients=2 undeliverable=0", done.stdout)
        self.assertIn("To: Al <a@x.y>", done.stdout)  # "10" is before "x-2"

    # -- bad rows

    def test_bad_rows_are_named_with_their_lines_and_the_others_imported(self):
        bad = {
            "a NUL": (b"2,b@x.y,B\0B\n", "the row holds a NUL byte"),
            "a NUL in quotes": (b'2,b@x.y,"B\n\0"\n', "the row holds a NUL byte (the row ends in line 4)"),
            "too few fields": ("2,b@x.y\n", "the row has 2 fields, and the header 3"),
            "too many fields": ("2,b@x.y,B,\n", "the row has 4 fields, and the header 3"),
            "not UTF-8": (b"2,b@x.y,caf\xe9\n", "the row is not UTF-8"),
            "text behind a quote": ('2,b@x.y,"B"B\n', "the row has text behind a closing quote; a quote "
                                                      "inside quotes is doubled"),
            "a quote in a field": ('2,b@x.y,B"B\n', "the row has a quote inside a field that does not "
                                                    "begin with one"),
            "a CR": ("2,b@x.y,B\rB\n", "the row holds a CR without LF outside quotes"),
            "no address": ("2,b,B\n", "the address has no @"),
            "an empty address": ("2,,B\n", "the address is empty"),
            "an address with a line break": ('2,"b@x.y\nBcc: c@x.y",B\n',
                                             "the address holds a line break (the row ends in line 4)"),
            "no id": (" ,b@x.y,B\n", "the id is empty"),
            "a long id": ("2" * 65 + ",b@x.y,B\n", "the id is longer than 64 bytes"),
        }
        for name, (row, want) in bad.items():
            with self.subTest(name):
                self.setUp()
                self.write("id,email,name\n1,a@x.y,A\n", row, "3,c@x.y,C\n")
                report, complaints = self.imported(code=1)
                self.assertEqual(complaints, [(3, want)])
                self.assertEqual((report["rows"], report["imported"], report["bad"]), (3, 2, 1))
                self.assertEqual(self.rows("id, name"), [("1", "A"), ("3", "C")])

    def test_a_line_of_10_mb_is_one_bad_row_in_bounded_memory(self):
        for quote in ("", '"'):
            with self.subTest(quote=quote):
                self.setUp()
                self.write("id,email,name\n1,a@x.y,A\n2,b@x.y,", quote, b"x" * (10 * MIB), quote,
                           "\n3,c@x.y,C\n")
                complaints, peak = self.watched(code=1)
                self.assertEqual(complaints, f"{self.file}:3: the row has more than 1 MiB\n")
                self.assertEqual(self.rows("id"), [("1",), ("3",)])
                if peak:
                    self.assertLess(peak, 16 * 1024)

    def watched(self, code=0):
        """Imports the file: what it said on stderr, and its peak memory in KiB."""
        process = self.stage.start("import", [binary("mailflock"), "-c", self.stage.config, "import",
                                              self.file, "--table", "member"])
        wait_until(lambda: not (process.peak_kib() and process.alive), 120, "the import to end", 0.001)
        peak = process.peak_kib()
        self.assertEqual(process.code, code, process.text())
        said = [line for line in process.text().splitlines(True) if not line.startswith("import: ")]
        with open(binary("mailflock"), "rb") as program:
            sanitized = b"__asan_init" in program.read()
        if sanitized:
            print("skipped: the bound of its memory, for a sanitizer needs memory of its own")
        else:
            self.assertGreater(peak, 0)
        return "".join(said), 0 if sanitized else peak

    def test_a_quote_that_is_never_closed_is_said(self):
        self.write('id,email,name\n1,a@x.y,A\n2,b@x.y,"B\n3,c@x.y,C\n')
        report, complaints = self.imported(code=1)
        self.assertEqual(report["imported"], 1)
        self.assertEqual(len(complaints), 1)
        self.assertEqual(complaints[0][0], 3)
        self.assertIn("the row opens a quote that is never closed (the row ends in line", complaints[0][1])

    def test_lines_are_those_of_the_file(self):
        self.write('email,name\r\n\r\na@x.y,"one\ntwo\r\nthree"\r\nbad,x\n\n\nb@x.y,B\nbad\n')
        _, complaints = self.imported(code=1)
        self.assertEqual([number for number, _ in complaints], [6, 10])
        self.assertEqual(len(self.rows()), 2)

    def test_many_rows_stay_in_flat_memory(self):
        with open(self.file, "w", encoding="utf-8") as file:
            file.write("id,email,name\n")
            file.writelines(f'{i},user{i}@example.net,"Zoë {i}"\n' if i % 10000 else f"{i},nobody,\n"
                            for i in range(1, 100001))
        complaints, peak = self.watched(code=1)
        self.assertEqual([line.rsplit(":", 2)[1] for line in complaints.splitlines()],
                         [str(10000 * i + 1) for i in range(1, 11)])
        self.assertEqual(self.stage.value("SELECT COUNT(*) FROM member"), 99990)
        if peak:
            self.assertLess(peak, 16 * 1024)

    def test_a_million_rows_need_no_more_memory_than_ten_thousand(self):
        peaks = []
        for count in (10000, 1000000):
            self.setUp()
            with open(self.file, "w", encoding="utf-8") as file:
                file.write("id,email,name\n")
                file.writelines(f'{i},user{i}@example.net,"Zoë {i}"\n' for i in range(1, count + 1))
            complaints, peak = self.watched()
            self.assertEqual(complaints, "")
            self.assertEqual(self.stage.value("SELECT COUNT(*) FROM member"), count)
            peaks.append(peak)
        if all(peaks):
            self.assertLess(peaks[1], 16 * 1024)
            self.assertLess(peaks[1], peaks[0] + 1024, "it grows with the number of rows")

    # -- tables that are there

    def test_what_the_table_refuses_is_named_with_its_line(self):
        self.stage.execute("CREATE TABLE member (id INT UNSIGNED PRIMARY KEY, email VARCHAR(20), name "
                           "VARCHAR(5) NOT NULL, born DATE, CHECK (born > '1900-01-01'))")
        self.write("id,email,name,born\n", *(f"{i},u{i}@x.y,N,2000-01-01\n" for i in range(1, 2001)),
                   "x,x@x.y,X,\n", "3001,y@x.y,too long,\n", "3002,z@x.y,Z,2000-02-30\n",
                   "3003,z@x.y,Z,1800-01-01\n", "3004,z@x.y,,\n", "-1,z@x.y,Z,\n")
        report, complaints = self.imported(code=1)
        self.assertEqual((report["imported"], report["bad"]), (2001, 5))
        self.assertEqual([number for number, _ in complaints], [2002, 2003, 2004, 2005, 2007])
        for (_, text), want in zip(complaints, ("'x'", "'name'", "2000-02-30", "", "'id'")):
            self.assertIn(want, text)
            self.assertNotIn("INSERT", text)
        self.assertEqual(self.rows("*", "id DESC")[0], (3004, "z@x.y", "", None))

    def test_a_row_never_changes_somebody_elses(self):
        self.stage.execute("CREATE TABLE member (id INT PRIMARY KEY, email VARCHAR(99) NOT NULL UNIQUE, "
                           "name VARCHAR(99)) COLLATE utf8mb4_general_ci")
        self.stage.execute("INSERT INTO member VALUES (1, 'a@x.y', 'A'), (2, 'b@x.y', 'B'), (3, 'jose@x.y', 'J')")
        self.write("id,email,name\n1,a@x.y,A2\n5,B@x.y,not B\n6,c@x.y,C\n2,a@x.y,not A\n")
        _, complaints = self.imported(code=1)
        want = "another row of the table has the same unique value"
        self.assertEqual(complaints[0], (3, want))
        self.assertEqual(complaints[1][0], 5)
        self.assertEqual(self.rows(), [(1, "a@x.y", "A2"), (2, "b@x.y", "B"), (3, "jose@x.y", "J"),
                                       (6, "c@x.y", "C")])
        self.stage.execute("ALTER TABLE member MODIFY id INT AUTO_INCREMENT")
        self.write("email,name\nA@X.y,A3\njosé@x.y,not J\nnew@x.y,N\n")
        _, complaints = self.imported(code=1)
        self.assertEqual(complaints, [(3, want)])
        self.assertEqual([row[1:] for row in self.rows()], [
            ("a@x.y", "A3"), ("b@x.y", "B"), ("jose@x.y", "J"), ("c@x.y", "C"), ("new@x.y", "N")])

    def test_a_table_that_does_not_fit_is_refused(self):
        self.stage.execute("CREATE TABLE member (id INT PRIMARY KEY, email VARCHAR(99), KEY (email))")
        self.write("id,email,name\n1,a@x.y,A\n")
        self.refused("the table 'member' has no column 'name'")
        self.write("email\na@x.y\n")
        self.refused("the table 'member' has no unique key on email alone")
        self.stage.execute("ALTER TABLE member ADD must INT NOT NULL")
        self.write("id,email\n1,a@x.y\n")
        self.refused("Field 'must' doesn't have a default value")
        self.assertEqual(self.rows(), [])
        for name in ("run", "Delivery", "suppression", "schema_migration"):
            done = self.stage.run_program("mailflock", "import", self.file, "--table", name, code=1)
            self.assertIn("is Mailflock's own", done.stderr)

    # -- headers and arguments

    def test_a_header_that_cannot_be_used_is_refused(self):
        cases = {
            "": "has no header",
            "\n\n": "has no header",
            "id,name\n": ":1: the header has no column 'email'",
            "email,name,NAME\n": ":1: column 3: the name 'NAME' is there twice",
            "email,\n": ":1: column 2: the name '' is empty",
            "\n\nemail,a.b\n": ":3: column 2: the name 'a.b' has . ` { } or a control character",
            "email," + "x" * 65 + "\n": "has more than 64 characters",
            "id;email;name\n": "--separator ';'",
            "id\temail\n": "--separator tab",
            b"email,caf\xe9\n": "the row is not UTF-8; the file has to be UTF-8 text",
            "email\n".encode("utf-16"): "the file has to be UTF-8 text",
            'email,"name\n': "never closed",
        }
        for text, want in cases.items():
            with self.subTest(text):
                self.write(text)
                self.refused(want)
        self.assertEqual(self.stage.value("SELECT COUNT(*) FROM information_schema.tables WHERE "
                                          "table_name='member' AND table_schema=DATABASE()"), 0)
        os.remove(self.file)
        self.refused("No such file")
        self.file = self.stage.dir
        self.refused("Is a directory")

    def test_wrong_usage(self):
        run = self.stage.run_program
        self.write("email\n")
        for args in ((), (self.file,), (self.file, "--table", "a.b"), (self.file, "--table", ""),
                     (self.file, "--table", "x`"), (self.file, "x", "--table", "t"),
                     (self.file, "--table", "t", "--separator", "ab")):
            done = run("mailflock", "import", *args, code=2)
            self.assertIn("see 'mailflock import -h'", done.stderr)


class SuppressImportTest(ImportTestCase):
    def suppressed(self, *args, code=0):
        done = self.stage.run_program("mailflock", "suppress", "import", self.file, "--json", *args,
                                      code=code)
        complaints = [line[len(self.file) + 1:] for line in done.stderr.splitlines()]
        return json.loads(done.stdout), complaints

    def list(self):
        return self.stage.rows("SELECT email, reason, source FROM suppression ORDER BY email")

    def test_a_file_with_a_header_names_its_columns(self):
        self.write("at,Reason,Email\n2020,asked,Mia@Example.com\n,,leo@example.com\n")
        report, _ = self.suppressed()
        self.assertEqual((report["rows"], report["imported"], report["bad"]), (2, 2, 0))
        self.assertEqual(self.list(), [("leo@example.com", "", "import"),
                                       ("mia@example.com", "asked", "import")])

    def test_a_bare_list_needs_no_header(self):
        self.write("Mia@Example.com\n\nleo@example.com,left the company\n")
        self.suppressed()
        self.assertEqual(self.list(), [("leo@example.com", "left the company", "import"),
                                       ("mia@example.com", "", "import")])

    def test_what_is_known_stays_unless_the_file_knows_better(self):
        self.stage.mailflock("suppress", "add", "a@x.y", "--reason", "phone")
        self.stage.mailflock("suppress", "add", "b@x.y", "--reason", "phone")
        self.write("A@x.y\nb@x.y,mail\n")
        self.suppressed()
        self.suppressed()
        self.assertEqual(self.list(), [("a@x.y", "phone", "operator"), ("b@x.y", "mail", "import")])

    def test_what_the_list_gives_can_be_imported(self):
        self.write('a@x.y,"say ""no"", twice"\nb@x.y\n')
        self.suppressed()
        before = self.list()
        with open(self.file, "w", encoding="utf-8", newline="") as file:
            file.write(self.stage.mailflock("suppress", "list", "--csv"))
        self.stage.execute("DELETE FROM suppression")
        self.suppressed()
        self.assertEqual(self.list(), before)

    def test_bad_rows_are_named_and_the_others_imported(self):
        self.write("email,reason\na@x.y,r\nnobody,r\nb@x.y\nc@x.y,", "x" * 256, "\nd@x.y,", b"\0", "\n",
                   b"e@x.y,\xff\n", "f@x.y,", "x" * 10 * MIB, "\ng@x.y,r\n")
        report, complaints = self.suppressed(code=1)
        self.assertEqual((report["rows"], report["imported"], report["bad"]), (8, 2, 6))
        self.assertEqual(complaints, [
            "3: the address has no @",
            "4: the row has more or fewer fields than the header",
            "5: the reason has more than 255 characters",
            "6: the row holds a NUL byte",
            "7: the row is not UTF-8",
            "8: the row has more than 1 MiB"])
        self.assertEqual([row[0] for row in self.list()], ["a@x.y", "g@x.y"])


if __name__ == "__main__":
    unittest.main(verbosity=2)  # which names what is skipped
