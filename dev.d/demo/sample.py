"""One mail of ./dev demo, for the reader: its header as it came over the wire, its text decoded."""

import email
import email.policy
import re

# What smtp-sink puts above a mail: the envelope in X- lines, and a Received field.
SINKS_OWN = re.compile(rb"\A(?:X-(?:Client|Helo|Mail|Rcpt)-[^\n]*\n)+"
                       rb"Received:[^\n]*\n(?:[ \t][^\n]*\n)*")


def show(screen, kept):
    above = SINKS_OWN.match(kept)
    rcpt = re.search(rb"^X-Rcpt-Args: <([^>]*)>", above[0], re.M)[1].decode()
    raw = kept[above.end():].rstrip(b"\n") + b"\n"
    header = raw.split(b"\n\n", 1)[0].decode("ascii", "replace")
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    screen.say(f"The first mail as it arrived at <{rcpt}>, {len(raw):,} bytes:")
    screen.say()
    for line in header.splitlines():
        screen.say("  " + line)
    screen.say()
    for part in mail.iter_parts():
        size = len(part.get_content().encode())
        screen.say(f"  [{part.get_content_type()}, {part['Content-Transfer-Encoding']}, "
                   f"{size:,} bytes decoded]")
    screen.say()
    screen.say("The same for people:")
    screen.say()
    for name in ("To", "Subject"):
        screen.say(f"  {name}: {mail[name]}")
    screen.say()
    for line in mail.get_body(("plain",)).get_content().rstrip("\n").splitlines():
        screen.say(("  " + line).rstrip())
    screen.say()
