"""What is to be measured: the rows, their sizes, and the command line that chooses among them. As a
program it only checks the command line, for which nothing has to be built or running.

    plan.py [--quick] [--only ROW,...] [--pairs N] [--against DIR]
"""

import argparse
import os

ROWS = {
    "whole": "the whole system with 1 consumer against smtp-source",
    "whole2": "the same with 2 consumers",
    "node": "against amqplib, nodemailer and mysql2",
    "node2": "the same with 2 consumers each",
    "rtt": "a relay that takes 50 ms to answer",
    "cost": "cost of a mail and memory, 10 thousand to 1 million recipients",
    "producer": "the producer alone, 1 million recipients",
    "scaling": "1, 2 and 4 consumers",
    "first": "scheduled second to the first mail",
    "burst": "3,000 recipients over 200 connections",
    "change": "this build against another one (--against)",
    "crash": "on_crash = hold against resend",
    "content": "multipart against plain text",
    "mustache": "the templates of the newsletters in config/ against plain variables",
    "tls": "TLS against none",
    "pressure": "a slow relay, database or broker: memory stays bounded",
}
NOT_QUICK = ("whole2", "node2", "pressure")

# Recipients of each run. QUICK is for seeing that all works, not for figures.
FULL = {
    "pairs": 5, "whole": 100_000, "node": 100_000, "rtt": (4_000, 1_000, 800),
    "cost": (10_000, 100_000, 1_000_000), "scaling": 4_000, "scaling_consumers": (1, 2, 4),
    "first": 1_000, "burst": 3_000, "change": 100_000, "crash": 100_000, "content": 100_000, "tls": 100_000,
    "producer": 1_000_000, "pressure": (50_000, 20_000), "mustache": 300_000,
}
QUICK = {
    "pairs": 5, "whole": 5_000, "node": 500, "rtt": (300, 100, 40), "cost": (5_000, 10_000),
    "scaling": 200, "scaling_consumers": (1, 2), "first": 200, "burst": 1_000, "change": 5_000,
    "crash": 5_000, "content": 5_000, "tls": 5_000, "producer": 20_000, "mustache": 20_000,
}


def arguments():
    parser = argparse.ArgumentParser(
        prog="./dev bench", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measures Mailflock beside others, in turn: see docs/performance.md.",
        epilog="rows:\n" + "\n".join(f"  {name:<10}{text}" for name, text in ROWS.items()))
    parser.add_argument("--quick", action="store_true",
                        help="small sizes and as many pairs as a minute allows, to see that all "
                             f"works; without {' and '.join(NOT_QUICK)}")
    parser.add_argument("--only", metavar="ROW,...", help="some rows only")
    parser.add_argument("--pairs", type=int, metavar="N", help="times each side is measured (5)")
    parser.add_argument("--against", metavar="DIR", help="row change: the directory, as .dev/build, in "
                        "which another version was built")
    args = parser.parse_args()
    every = [row for row in ROWS if not (args.quick and row in NOT_QUICK)
             and (row != "change" or args.against)]
    args.rows = args.only.split(",") if args.only else every
    unknown = [row for row in args.rows if row not in ROWS]
    if unknown:
        parser.error(f"there is no row '{unknown[0]}', only {', '.join(ROWS)}")
    if args.pairs is not None and not 1 <= args.pairs <= 100:
        parser.error("--pairs takes a number from 1 to 100")
    if "change" in args.rows and not args.against:
        parser.error("row change needs --against DIR")
    if args.against and not os.access(os.path.join(args.against, "mailflock-consumer"), os.X_OK):
        parser.error(f"there is no mailflock-consumer in {args.against}: was it built there?")
    args.plan = dict(QUICK if args.quick else FULL)
    args.plan["against"] = args.against and os.path.abspath(args.against)
    if args.pairs:
        args.plan["pairs"] = args.pairs
    return args


if __name__ == "__main__":
    arguments()
