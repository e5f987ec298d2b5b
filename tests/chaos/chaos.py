"""./dev chaos: a whole campaign over real services while everything is killed again and again; then
the server's record is compared with the ledger. The last line sums up, and the exit status is 1
when anything was lost, sent twice against the policy, out of balance, or did not end."""

import argparse
import os
import random
import signal
import sys
import time

import schedule
from services import ROOT, Services

sys.path.insert(1, os.path.join(ROOT, "tests", "system"))


def arguments():
    parser = argparse.ArgumentParser(prog="./dev chaos", description=(
        "Sends a campaign through 3 workers while workers, producer, RabbitMQ and MariaDB are "
        "killed, workers frozen past their leases, connections closed, messages lost; then compares "
        "what the SMTP server accepted with the ledger."))
    parser.add_argument("--recipients", type=int, default=50000)
    parser.add_argument("--kills", type=int, default=50, help="SIGKILLs; other faults come on top")
    parser.add_argument("--seed", help="the same faults as in another run; otherwise one is chosen")
    parser.add_argument("--policy", choices=("hold", "resend", "both"), default="hold",
                        help="on_crash; both: two campaigns at the same time")
    parser.add_argument("--per-second", type=int, default=900, metavar="N",
                        help="mails a second that the relay would take, undisturbed")
    options = parser.parse_args()
    if options.recipients < 1 or options.kills < 0 or options.per_second < 1:
        parser.error("--recipients and --per-second are 1 or more, --kills is 0 or more")
    options.seed = options.seed or str(random.SystemRandom().randrange(1000000))
    options.policies = ("hold", "resend") if options.policy == "both" else (options.policy,)
    mails = options.recipients * len(options.policies)
    options.limit_s = 180 + 5 * mails / options.per_second + 5 * options.kills
    return options


def fight(options, services):
    """True when all is well. The harness finds the services in the environment when it is imported,
    so that is done here."""
    from battle import Battle, NotFinished, stage_for
    from verdict import Verdict
    shape, faults = schedule.draw(options.seed, options.recipients * len(options.policies),
                                  options.kills, options.per_second)
    print(f"chaos: policy={options.policy} seed={options.seed} recipients={options.recipients} "
          f"kills={options.kills}; {shape}", flush=True)
    with stage_for(options, shape) as stage:
        battle = Battle(options, shape, faults, services, stage)
        try:
            battle.run()
        except NotFinished as e:
            battle.troubles.append(str(e))
            battle.seconds = time.monotonic() - battle.began
        finally:
            battle.end()
        verdicts = [Verdict(battle, policy) for policy in options.policies]
        good = not any(verdict.problems for verdict in verdicts)
        for verdict in verdicts:
            verdict.report()
        if not good:
            keep(options, services, battle)
        for verdict in verdicts:
            verdict.details()
            print(verdict.line(), flush=True)
        return good


def keep(options, services, battle):
    place = os.path.join(services.state, f"wrong-{options.policy}-{options.seed}")
    battle.keep(place)
    print(f"chaos: logs, record and ledger are in {place}; to repeat: ./dev chaos --seed "
          f"{options.seed} --recipients {options.recipients} --kills {options.kills} "
          f"--policy {options.policy} --per-second {options.per_second}")


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends
    with Services(os.path.join(ROOT, ".dev", "chaos")) as services:
        good = fight(options, services)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
