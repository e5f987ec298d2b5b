"""Mails that we build, judged by Python's email package, which shares no code with us."""

import email
import email.header
import email.policy
import email.utils
import html
import os
import random
import subprocess
import unittest

BUILD_MAIL = os.path.join(os.environ["MF_BUILD"], "tests", "build_mail")
KOREAN = "주문하신 상품이 발송되었습니다. 안녕하세요, 저희 가게를 이용해 주셔서 진심으로 감사드립니다. "
DEFAULTS = {
    "from": "Mill <news@example.com>",
    "subject": "Hello",
    "to": "ada@example.org",
    "message_id": "1kf3.12.7.3@example.com",
    "date": "1709210096",
}


def build(fields):
    """The mail's bytes, or the reason why there is none."""
    wire = b""
    for key, value in {**DEFAULTS, **fields}.items():
        data = value.encode() if isinstance(value, str) else value
        wire += b"%s\t%d\n%s\n" % (key.encode(), len(data), data)
    done = subprocess.run([BUILD_MAIL], input=wire, capture_output=True, timeout=60)
    if done.returncode == 3:
        return done.stderr.decode()
    if done.returncode:
        raise AssertionError(f"build_mail: {done.returncode} {done.stderr!r}")
    return done.stdout


def mailbox_of(raw, header):
    """(name, address). Not by email.policy.default, which keeps the space between two
    encoded-words of a name (RFC 2047 section 6.2 says to drop it) and joins runs of blanks."""
    value = email.message_from_bytes(raw, policy=email.policy.compat32)[header]
    name, address = email.utils.parseaddr(value.replace("\r", "").replace("\n", ""))
    return str(email.header.make_header(email.header.decode_header(name))), address


def lines_of(text):
    """Line breaks as a mail carries them, read back as line feeds."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


class Oracle(unittest.TestCase):
    def build(self, **fields):
        """Builds and parses; every mail is checked for what holds for all of them."""
        raw = build({key.replace("__", ":"): value for key, value in fields.items()})
        self.assertIsInstance(raw, bytes, raw)
        self.raw = raw
        self.assertTrue(raw.endswith(b"\r\n"))
        self.assertNotIn(b"\n", raw.replace(b"\r\n", b""))
        self.assertNotIn(b"\r", raw.replace(b"\r\n", b""))
        header, _, body = raw.partition(b"\r\n\r\n")
        for line in header.split(b"\r\n"):
            self.assertLessEqual(len(line), 998)
            if not line.startswith(b"List-Unsubscribe:"):
                self.assertLessEqual(len(line), 78, line)
            self.assertNotEqual(line.strip(), b"")
        for line in body.split(b"\r\n"):
            self.assertLessEqual(len(line), 76, line)
            self.assertFalse(line.startswith((b".", b"From ")), line)
            self.assertEqual(line, line.rstrip(b" \t"))
        self.assertTrue(raw.isascii())
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        self.assertEqual(list(mail.defects), [])
        for part in mail.walk():
            self.assertEqual(list(part.defects), [])
            for name, value in part.items():
                self.assertEqual(list(value.defects), [], name)
        return mail

    def part(self, mail, kind):
        part = mail.get_body((kind,))
        return lines_of(part.get_payload(decode=True).decode())

    def test_all_headers_are_read_back(self):
        mail = self.build(text="x", reply_to="Desk <desk@example.com>", to_name="Ada {{last}}",
                          var__last="Lovelace")
        self.assertEqual(mail["from"].addresses[0].display_name, "Mill")
        self.assertEqual(mail["from"].addresses[0].addr_spec, "news@example.com")
        self.assertEqual(str(mail["reply-to"]), "Desk <desk@example.com>")
        self.assertEqual(mail["to"].addresses[0].display_name, "Ada Lovelace")
        self.assertEqual(mail["to"].addresses[0].addr_spec, "ada@example.org")
        self.assertEqual(mail["date"].datetime.isoformat(), "2024-02-29T12:34:56+00:00")
        self.assertEqual(mail["message-id"], "<1kf3.12.7.3@example.com>")
        self.assertEqual(mail["mime-version"], "1.0")
        self.assertEqual(mail.get_content_type(), "text/plain")
        self.assertEqual(mail.get_content_charset(), "utf-8")

    def test_subjects_are_read_back(self):
        for subject in (KOREAN * 3, "é" * 200, "😀 party 🎉" * 20, "short", "with  two blanks",
                        "word " * 60 + "end", "a" * 950, "a" * 3000, "=?utf-8?q?no?=", "tail ",
                        'quotes " and \\', "x" * 70 + " y", "é" + " " * 30 + "z"):
            with self.subTest(subject=subject):
                raw_is_long = max(map(len, subject.split(" "))) > 60
                if raw_is_long and len(subject) < 960 and subject.isascii():
                    raw = build({"subject": subject, "text": "x"})
                    self.assertLessEqual(max(map(len, raw.split(b"\r\n"))), 998)
                    mail = email.message_from_bytes(raw, policy=email.policy.default)
                else:
                    mail = self.build(subject="{{s}}", text="x", var__s=subject)
                self.assertEqual(mail["subject"], subject)

    def test_names_are_read_back(self):
        for name in ("Zoë Ångström", "홍길동", KOREAN * 3, "😀👩‍👩‍👧 family", "Lovelace, Ada (Dr.)",
                     'The "Quoted" \\ One', "a@b", "<x>", "John Q. Public", "n" * 150, "=?x?="):
            with self.subTest(name=name):
                fields = {"to_name": "{{n}}", "var__n": name, "text": "x"}
                if len(name.encode()) <= 200 and '"' not in name:
                    fields["from"] = f"{name} <news@example.com>"
                mail = self.build(**fields)
                self.assertEqual(mailbox_of(self.raw, "to"), (name.strip(), "ada@example.org"))
                self.assertEqual([a.addr_spec for a in mail["to"].addresses], ["ada@example.org"])
                if "from" in fields:
                    self.assertEqual(mailbox_of(self.raw, "from"),
                                     (name.strip(), "news@example.com"))

    def test_long_address_and_name_fold(self):
        address = "a" * 64 + "@" + ".".join(["b" * 59] * 3) + ".example"
        raw = build({"to": address, "to_name": KOREAN, "text": "x"})
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        self.assertEqual(mail["to"].addresses[0].addr_spec, address)

    def test_bodies_are_read_back(self):
        cases = {
            "long line": "x" * 5000, "long Korean line": KOREAN * 50,
            "leading dots": ".\n..\n.a\n...\n", "empty": "", "only a line break": "\n",
            "From lines": "From me\n>From\nFrom you", "trailing blanks": "a \nb\t\n \n\t\nc ",
            "lone CR": "a\rb\r\rc\r", "mixed line ends": "a\r\nb\nc\rd\n\re",
            "equals signs": "=" * 200, "accents": "é" * 300, "control characters": "a\x01\x0b\x7f",
            "what looks like a boundary": "--=_0000000000000000\n--=_0--\n",
        }
        for name, text in cases.items():
            with self.subTest(name):
                mail = self.build(text=text, html=f"<p>{text}</p>")
                self.assertEqual(self.part(mail, "plain"), lines_of(text))
                self.assertEqual(self.part(mail, "html"), lines_of(f"<p>{text}</p>"))
                self.assertEqual([part.get_content_type() for part in mail.walk()],
                                 ["multipart/alternative", "text/plain", "text/html"])
                mail = self.build(text="[{{v}}]", html="<p>{{v}}|{{{v}}}</p>", var__v=text)
                self.assertEqual(self.part(mail, "plain"), lines_of(f"[{text}]"))
                self.assertEqual(self.part(mail, "html"),
                                 lines_of(f"<p>{html.escape(text)}|{text}</p>"))

    def test_a_single_part_ends_its_last_line(self):
        for kind in ("text", "html"):
            mail = self.build(**{kind: "a {{x}}", "var__x": "b"})
            self.assertEqual(lines_of(mail.get_content()), "a b\n")
        self.assertEqual(self.build(text="").get_content(), "")

    def test_html_variables_are_escaped(self):
        value = "<script>alert(\"x\" & 'y')</script>"
        mail = self.build(text="{{v}}", html="<b>{{v}}</b>{{{v}}}", var__v=value)
        self.assertEqual(self.part(mail, "plain"), value)
        self.assertEqual(self.part(mail, "html"), f"<b>{html.escape(value)}</b>{value}"
                         .replace("&#x27;", "&#39;"))

    def test_list_unsubscribe_is_read_back(self):
        mail = self.build(text="x", list_unsubscribe="https://u.example/?a={{a}}&t={{{t}}}",
                          var__a="é b&c", var__t="q%20")
        self.assertEqual(mail["list-unsubscribe"], "<https://u.example/?a=%C3%A9%20b%26c&t=q%20>")
        self.assertEqual(mail["list-unsubscribe-post"], "List-Unsubscribe=One-Click")
        mail = self.build(text="x", list_unsubscribe="https://u.example/" + "a" * 800)
        self.assertEqual(mail["list-unsubscribe"], "<https://u.example/" + "a" * 800 + ">")
        mail = self.build(text="x", list_unsubscribe="http://u.example/")
        self.assertIsNone(mail["list-unsubscribe-post"])

    def files_of(self, mail):
        """name -> (type, disposition, Content-ID, bytes) of all parts that are files."""
        return {part.get_filename(): (part.get_content_type(), part.get_content_disposition(),
                                      part["content-id"], part.get_payload(decode=True))
                for part in mail.walk() if part.get_filename() is not None}

    def test_the_structure_is_what_readers_expect(self):
        text, html = "text/plain", "text/html"
        both = ["multipart/alternative", text, html]
        png, pdf = {"image:a.png": b"PNG"}, {"attachment:b.pdf": b"PDF"}
        rows = [
            ({"text": "x"}, [text]),
            ({"html": "x"}, [html]),
            ({"text": "x", "html": "y"}, both),
            ({"text": "x", **pdf}, ["multipart/mixed", text, "application/pdf"]),
            ({"html": "x", **pdf}, ["multipart/mixed", html, "application/pdf"]),
            ({"html": "x", **png}, ["multipart/related", html, "image/png"]),
            ({"text": "x", "html": "y", **png}, ["multipart/related", *both, "image/png"]),
            ({"text": "x", "html": "y", **pdf}, ["multipart/mixed", *both, "application/pdf"]),
            ({"text": "x", "html": "y", **pdf, **png},
             ["multipart/mixed", "multipart/related", *both, "image/png", "application/pdf"]),
        ]
        for fields, want in rows:
            for end in ("", "\n", "\n\n"):  # a part keeps the line end it has
                with self.subTest(want=want, end=end):
                    given = {k: v + end if isinstance(v, str) else v for k, v in fields.items()}
                    mail = self.build(**given)
                    self.assertEqual([part.get_content_type() for part in mail.walk()], want)
                    for kind, name in (("plain", "text"), ("html", "html")):
                        if name in given and len(want) > 1:
                            self.assertEqual(self.part(mail, kind), given[name])
                    for part in mail.walk():
                        if part.get_content_type() == "multipart/related":
                            root = part.get_payload(0).get_content_type()
                            self.assertEqual(part.get_param("type"), root)
                    names = {part.get_boundary() for part in mail.walk() if part.is_multipart()}
                    self.assertEqual(len([t for t in want if t.startswith("multipart")]), len(names))
                    self.assertFalse([1 for a in names for b in names
                                      if a != b and a.startswith(b)])

    def test_files_are_read_back(self):
        rng = random.Random(7)
        for size in (0, 1, 2, 3, 56, 57, 58, 1000, 100_000):
            data = rng.randbytes(size)
            mail = self.build(html="<img src='cid:a.PNG'>", **{"image:a.PNG": data,
                                                              "attachment:a.PNG": data[::-1],
                                                              "attachment:b": data})
            files = [(part.get_content_type(), part.get_content_disposition(), part["content-id"],
                      part.get_payload(decode=True))
                     for part in mail.walk() if part.get_filename()]
            self.assertEqual(files, [
                ("image/png", "inline", "<a.PNG>", data),
                ("image/png", "attachment", None, data[::-1]),
                ("application/octet-stream", "attachment", None, data)])

    def test_names_of_files_are_read_back(self):
        for name in ("terms.pdf", "with blanks  two.pdf", "약관 (최종).pdf", "Ångström's.docx",
                     'quotes " and \\.txt', "a=b;c*d%20'e.csv", "n" * 56, "n" * 57, "n" * 251 + ".pdf",
                     "é" * 127, "한" * 80 + ".hwp", "😀" * 60, ".", "=?utf-8?q?no?="):
            with self.subTest(name=name):
                mail = self.build(text="x", **{"attachment:" + name: b"y"})
                self.assertEqual(list(self.files_of(mail)), [name])

    def test_a_text_is_utf8_where_it_is(self):
        mail = self.build(text="x", **{"attachment:a.csv": "é".encode(), "attachment:b.csv": b"\xe9",
                                       "attachment:c.ics": b"BEGIN"})
        charsets = [part.get_param("charset") for part in list(mail.walk())[2:]]
        self.assertEqual(charsets, ["UTF-8", None, "UTF-8"])

    def test_the_largest_files_are_read_back(self):
        data = random.Random(8).randbytes(5 << 20)
        mail = self.build(text="x", **{"attachment:a.bin": data})
        self.assertEqual(self.files_of(mail)["a.bin"][3], data)

    def test_what_would_forge_headers_is_refused(self):
        for fields in ({"to_name": "{{v}}"}, {"subject": "{{v}}"}):
            for value in ("a\r\nBcc: x@example.org", "a\nb", "a\rb", "a\0b", b"\xff"):
                reason = build({"text": "x", "var:v": value, **fields})
                self.assertIsInstance(reason, str)
                self.assertNotIn("Bcc", reason)
        self.assertIsInstance(build({"text": "x", "to": "a@b.c\r\nRCPT TO:<d@e.f>"}), str)

    def test_random_unicode_is_read_back(self):
        rng = random.Random(20240229)
        pool = ["\n", "\r\n", "\r", ".", "From ", " ", "  ", "\t", "=", "&", "<", '"', "'", ">", "é",
                "ß", "한", "글", "😀", "👩‍👧", "日本", "a", "word ", "Long" * 30, "\u00a0", "\u2028"]
        for case in range(150):
            def text(breaks):
                bits = pool if breaks else [bit for bit in pool if not set(bit) & set("\r\n\t")]
                return "".join(rng.choices(bits, k=rng.randrange(60)))
            value, subject = text(True), text(False).strip(" ")
            name = text(False).strip(" ")
            before, after = text(True), text(True)
            template = before + "{{v}}" + after
            with self.subTest(case=case):
                raw = build({"subject": "{{s}}", "to_name": "{{n}}", "text": template,
                             "html": template, "var:v": value, "var:s": subject, "var:n": name})
                mail = email.message_from_bytes(raw, policy=email.policy.default)
                self.assertLessEqual(max(map(len, raw.split(b"\r\n"))), 998)
                self.assertEqual(mail["subject"], subject)
                self.assertEqual(mailbox_of(raw, "to"), (name, "ada@example.org"))
                self.assertEqual(self.part(mail, "plain"), lines_of(before + value + after))
                escaped = html.escape(value).replace("&#x27;", "&#39;")
                self.assertEqual(self.part(mail, "html"), lines_of(before + escaped + after))


if __name__ == "__main__":
    unittest.main()
